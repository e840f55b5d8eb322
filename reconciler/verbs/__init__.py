"""What each verb of the command line parses, and which exit status it chooses."""
