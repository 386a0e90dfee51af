"""What a sweep would take, before it is paid for."""
