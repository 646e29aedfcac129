"""The support desk with a real model: the same episodes in three frameworks, with the gate off and on."""
