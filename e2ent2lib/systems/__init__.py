"""The systems of the tables: one record each in ``table``; each baseline and departure a file.

A system of your own is one file, with a subclass of ``models.Network`` that says "The idea: …" in its docstring, and
one ``System`` in ``SYSTEMS``. It can then be trained, evaluated and used by its name, and stands in the tables.
"""

from e2ent2lib.systems.table import SYSTEMS, Recipe, System, recipe_of, system_of

__all__ = ["SYSTEMS", "Recipe", "System", "recipe_of", "system_of"]
