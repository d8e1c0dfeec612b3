"""The commands by subject: each parses, calls one function, and shows what came back."""
