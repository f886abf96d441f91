"""The functions of ``arrax.core``, by subject; each records primitives and computes nothing."""
