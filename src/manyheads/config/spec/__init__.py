"""The sections of a recipe, a file each; `config.recipe` puts them together."""
