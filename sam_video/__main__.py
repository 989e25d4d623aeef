"""`python -m sam_video` is `sam-video`."""

import sys

from sam_video.cli import main

sys.exit(main())
