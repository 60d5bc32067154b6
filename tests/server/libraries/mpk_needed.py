"""What `mpk_plain` needs."""
