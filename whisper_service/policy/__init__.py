"""Plans: pure objects that say what to decode next and turn hypotheses into text."""
