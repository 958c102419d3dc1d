"""How the bundled `demo` checkpoint is made: words, speech, network, training and evaluation."""
