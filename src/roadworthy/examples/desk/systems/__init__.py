"""The desk's three systems and its way to send mail: each has its own idea of a customer, and their numbers overlap."""
