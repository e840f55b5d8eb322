"""The store: entries by digest, and what is known of them."""
