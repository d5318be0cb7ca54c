"""How dates are written, one module a language: times carry their zone, and no-break spaces keep them on one line."""
