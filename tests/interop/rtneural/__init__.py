"""RTNeural's JSON of both kinds."""
