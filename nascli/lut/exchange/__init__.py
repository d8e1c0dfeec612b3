"""Tables in and out: packs, comparisons, and the formats of other tools."""
