"""The shipped studies, one short file each; see `harness.spec.Study`."""
