"""Images by skopeo, and OCI image layouts."""
