"""The carriers that other systems of the company send texts with: one module of ``providers`` each."""
