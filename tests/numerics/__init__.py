"""Results and gradients: whatever depends on the engine, the instruction set or the threads."""
