"""Rasters of one's own: a folder of GeoTIFFs read where they lie, or brought into the PASTIS layout."""
