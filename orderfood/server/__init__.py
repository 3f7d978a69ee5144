"""How HTTP comes in, on either server, and how it ends."""
