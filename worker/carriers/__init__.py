"""The carriers through which other systems of the company send texts: one module of ``providers`` each."""
