"""The project itself: layout, build, documents, examples."""
