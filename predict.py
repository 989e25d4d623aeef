# ruff: noqa: B008, E501, PLR0917 (Cog reads inputs only in this form, each text on one line)
"""What Cog and Replicate run: the inputs as people see them, handed to `sam_video`.

Cog builds the form and the API's schema from the text of this file, without running it, and reads
nothing but literals: what the package defines is repeated here, and a test holds the two together.
"""

import logging
import traceback
from collections.abc import Iterator
from tempfile import TemporaryDirectory

from cog import BasePredictor, Input, Path

from sam_video.checkpoints import default_model
from sam_video.errors import SamVideoError
from sam_video.pipeline import Session
from sam_video.request import Request

METRICS = (
    "frames",
    "objects",
    "decoding_seconds",
    "tracking_seconds",
    "encoding_seconds",
    "frames_per_second",
)


class Predictor(BasePredictor):
    """Finds objects that are clicked on, and follows them through a video."""

    def setup(self) -> None:
        """Load the checkpoint that `SAM_VIDEO_MODEL` names, or `large`."""
        logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
        self.session = Session(default_model())
        self.output = TemporaryDirectory(prefix="sam_video_")

    def predict(
        self,
        input_video: Path = Input(
            description="The video (mp4, mov, mkv, webm, avi, gif and others) or still image (jpg, png, webp and others) to find objects in. A still image counts as a video of one frame."
        ),
        click_coordinates: str = Input(
            default="",
            description="Where the objects are: one [x,y] per click, in pixels from the left and top edges of the picture as it is shown. At least one click is needed. Example: [391,239],[178,320]",
        ),
        click_labels: str = Input(
            default="1",
            description="What each click means, in the order of the clicks: 1 = this is part of the object, 0 = this is not. If there are fewer labels than clicks, the last one repeats. Example: 1,1,0",
        ),
        click_frames: str = Input(
            default="0",
            description="The frame that each click is on, in the order of the clicks; the first frame of a video is 0. If there are fewer numbers than clicks, the last one repeats. Example: 0,0,30",
        ),
        click_object_ids: str = Input(
            default="",
            description="The name of the object that each click is for, in the order of the clicks; clicks with the same name are for one object. If there are fewer names than clicks, the last one repeats. If empty, every click with label 1 is an object of its own, and a click with label 0 corrects the nearest one. Example: dog,dog,cat",
        ),
        mask_type: str = Input(
            default="binary",
            choices=["binary", "highlighted", "greenscreen"],
            description="How the result looks. binary: objects white, everything else black. highlighted: objects marked with colours in the video. greenscreen: objects as they are, everything else pure green.",
        ),
        annotation_type: str = Input(
            default="mask",
            choices=["mask", "box", "both"],
            description="How highlighted marks an object: mask colours it in, box draws a rectangle around it, both does the two. Without effect on binary and greenscreen.",
        ),
        output_video: bool = Input(
            default=False,
            description="On: one video, output_video.mp4. Off: one image per frame, such as frame_00000.webp, frame_00001.webp and so on.",
        ),
        video_fps: int = Input(
            default=0,
            ge=0,
            le=240,
            description="Frames per second of the output video, from 0 to 240; 0 keeps the rate of the input. The frames stay the same ones, so another rate plays faster or slower. Without effect on images. Example: 25",
        ),
        output_format: str = Input(
            default="webp",
            choices=["webp", "jpg", "png"],
            description="The file format of the images. Without effect on a video.",
        ),
        output_quality: int = Input(
            default=80,
            ge=0,
            le=100,
            description="The quality of jpg and webp images, from 0 (small files) to 100 (good pictures). Without effect on png, on binary in webp (both lose nothing) and on a video.",
        ),
        output_frame_interval: int = Input(
            default=1,
            ge=1,
            description="Write only every Nth frame, counted from the first; objects are still followed on all of them. Example: 5 writes frames 0, 5, 10 and so on.",
        ),
        model: str = Input(
            default="large",
            choices=["large", "base_plus", "small", "tiny", "pocket"],
            description="The SAM 2.1 model. large is the most accurate one; base_plus, small and tiny are faster, in this order. pocket is for trying things out on a computer without a GPU: very fast, and far less accurate.",
        ),
        track_backward: bool = Input(
            default=True,
            description="On: objects are also followed from their first click back to the start of the video. Off: an object is there only from the frame of its first click on.",
        ),
        output_rle: bool = Input(
            default=False,
            description="Also write rle.json, for programs: the mask of every single object on every frame, as COCO run-length encoding.",
        ),
    ) -> Iterator[Path]:
        """Yield the output files, each as soon as it is complete."""
        request = Request(
            input_video=Path(str(input_video)),  # Cog hands over as plain text what is no URL
            click_coordinates=click_coordinates,
            click_labels=click_labels,
            click_frames=click_frames,
            click_object_ids=click_object_ids,
            mask_type=mask_type,
            annotation_type=annotation_type,
            output_video=output_video,
            video_fps=video_fps,
            output_format=output_format,
            output_quality=output_quality,
            output_frame_interval=output_frame_interval,
            model=model,
            track_backward=track_backward,
            output_rle=output_rle,
        )
        self.output.cleanup()  # only now: Cog reads files after it has been given them
        self.output = TemporaryDirectory(prefix="sam_video_")
        try:
            yield from self.session.predict(request, Path(self.output.name))
        except BaseException as error:  # Cog cancels with one that is no Exception
            self.output.cleanup()
            if isinstance(error, Exception) and not isinstance(error, SamVideoError):
                traceback.print_exc()  # of which Cog shows the last line alone
            raise
        for name in METRICS:
            self.record_metric(name, getattr(self.session.metrics, name))
