# ruff: noqa: B008, E501, PLR0917 (Cog reads inputs only in this form, each text on one line)
"""The predictor that Cog and Replicate run: it declares the form's inputs and calls `sam_video`.

Cog builds the form and the API's schema from the text of this file, without running it, and reads
literals only. So this file repeats the package's definitions; a test keeps the two equal.
"""

import logging
import traceback
from collections.abc import Iterator
from tempfile import TemporaryDirectory

from cog import BasePredictor, Input, Path

from sam_video.checkpoints.catalogue import default_model
from sam_video.errors import SamVideoError
from sam_video.limits import check_limits
from sam_video.request import Request
from sam_video.service.health import HealthCheck
from sam_video.service.session import Session

METRICS = (
    "frames",
    "objects",
    "decoding_seconds",
    "tracking_seconds",
    "encoding_seconds",
    "frames_per_second",
    "peak_memory_mb",
    "peak_gpu_memory_mb",
)


class Predictor(BasePredictor):
    """Segments the prompted objects and tracks them through a video."""

    def setup(self) -> None:
        """Load the checkpoint that `SAM_VIDEO_MODEL` names, or `large`."""
        logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
        check_limits()
        self.session = Session(default_model(), names_files=False)
        self.session.check()  # a GPU that cannot run the model fails now, not in a prediction
        self.health = HealthCheck(self.session)
        self.output = TemporaryDirectory(prefix="sam_video_")

    def healthcheck(self) -> bool:
        """Return whether the model still runs; Cog calls this at any time."""
        return self.health.is_good()

    # fmt: off
    def predict(
        self,
        input_video: Path = Input(accept="video/*,image/*", description="The video (mp4, mov, mkv, webm, avi, gif and others) or still image (jpg, png, webp and others) to find objects in. A still image counts as a video of one frame."),
        click_coordinates: str = Input(default="", description="Where the objects are: one [x,y] per click, in pixels from the left and top edges of the picture as it is shown. At least one click, box, mask or text_prompt is needed. Tick preview to try clicks first. Example: [391,239],[178,320]"),
        click_labels: str = Input(default="1", description="What each click means, in the order of the clicks: 1 = this is part of the object, 0 = this is not. If there are fewer labels than clicks, the last one repeats. Example: 1,1,0"),
        click_frames: str = Input(default="0", description="The frame that each click is on, in the order of the clicks; the first frame of a video is 0. If there are fewer numbers than clicks, the last one repeats. Example: 0,0,30"),
        click_object_ids: str = Input(default="", description="The name of the object that each click is for, in the order of the clicks; clicks with the same name are for one object. If there are fewer names than clicks, the last one repeats. If empty, every click with label 1 is an object of its own, and a click with label 0 corrects the nearest one. Example: dog,dog,cat"),
        mask_type: str = Input(default="binary", choices=["binary", "highlighted", "greenscreen", "alpha"], description="How the result looks. binary: objects white, everything else black. highlighted: objects marked with colours in the video. greenscreen: objects as they are, everything else pure green. alpha: objects as they are, everything else transparent (webp, png, or a webm video)."),
        annotation_type: str = Input(default="mask", choices=["mask", "box", "both"], description="How highlighted marks an object: mask colours it in, box draws a rectangle around it, both does the two. Without effect on the other mask types."),
        output_video: bool = Input(default=False, description="On: one video, output_video.mp4 (output_video.webm with alpha). Off: one image per frame, such as frame_00000.webp, frame_00001.webp and so on. Where there are several files, tell them apart by their names: they may be listed in any order; sorted by name, the images are in that of the frames."),
        video_fps: int = Input(default=0, ge=0, le=240, description="Frames per second of the output video, from 0 to 240; 0 keeps the time of the input, also where only every Nth frame is there. The frames stay the same ones, so another rate plays faster or slower. Without effect on images. Example: 25"),
        output_format: str = Input(default="webp", choices=["webp", "jpg", "png"], description="The file format of the images. Without effect on a video. jpg cannot be transparent."),
        output_quality: int = Input(default=80, ge=0, le=100, description="The quality of jpg and webp images, from 0 (small files) to 100 (good pictures). Without effect on png, on binary and alpha in webp (these lose nothing) and on a video."),
        output_frame_interval: int = Input(default=1, ge=1, description="Write only every Nth frame, counted from the first; objects are still followed on all of them. Example: 5 writes frames 0, 5, 10 and so on."),
        box_coordinates: str = Input(default="", description="Boxes around objects: one [x0,y0,x1,y1] per box, its left, top, right and bottom edges in pixels. A box may stand alone, or be combined with clicks of the same name on the same frame. Example: [100,80,340,400]"),
        box_frames: str = Input(default="0", description="The frame that each box is on, in the order of the boxes. If there are fewer numbers than boxes, the last one repeats. Example: 0,30"),
        box_object_ids: str = Input(default="", description="The name of the object in each box, in the order of the boxes. Names are shared with clicks. If empty, every box is an object of its own. Example: dog,cat"),
        mask_prompts: Path = Input(default="", description="A zip file of masks that are known already: one image per object and frame, named {frame}_{name}.png (or .npy), such as 0_dog.png, of the size of the video, black where the object is not."),
        prompts: str = Input(default="", description='Clicks and boxes as a JSON list, for programs; adds to the fields above. Example: [{"frame_index": 0, "object_id": 1, "points": [[391, 239]], "labels": [1]}]'),
        model: str = Input(default="large", choices=["large", "base_plus", "small", "tiny", "pocket"], description="The SAM 2.1 model. large is the most accurate one; base_plus, small and tiny are faster, in this order, and are downloaded when they are first used. pocket is for trying things out on a computer without a GPU: very fast, and far less accurate. large and pocket come with the image."),
        start_frame: int = Input(default=-1, ge=-1, description="The first frame to process; -1 is the start of the video. Frames keep their numbers. A click, box or mask on a frame outside still says what the object looks like; that frame is not written. Example: 100"),
        end_frame: int = Input(default=-1, ge=-1, description="The last frame to process; -1 is the end of the video. A click, box or mask on a frame outside still says what the object looks like; that frame is not written. Example: 250"),
        frame_interval: int = Input(default=1, ge=1, description="Process only every Nth frame, and those with a click, box or mask. Saves time where objects move slowly. Example: 3 processes frames 0, 3, 6 and so on."),
        track_backward: bool = Input(default=True, description="On: objects are also followed from their first click, box or mask back to the start of the video. Off: an object is there only from that frame on."),
        output_rle: bool = Input(default=False, description="Also write rle.json, for programs: the mask of every single object on every frame, as run-length encoding. Find the file by its name: it may be listed before the others."),
        rle_format: str = Input(default="coco", choices=["coco", "youtube_vis", "start_length"], description="The form of rle.json. coco: frame by frame, for pycocotools. youtube_vis: object by object, for YouTube-VIS tools. start_length: plain numbers, row by row. Without effect unless output_rle is on."),
        output_boxes: bool = Input(default=False, description="Also write boxes.json, for programs: the box around every object on every frame, in pixels."),
        output_masks: bool = Input(default=False, description="Also write masks.zip: one black and white png per object and frame, named {frame}_{name}.png, such as 0_dog.png."),
        output_confidences: bool = Input(default=False, description="Also write confidences.zip: as masks.zip, but grey, from 0 (surely not the object) to 255 (surely the object)."),
        output_overlay: bool = Input(default=False, description="Also write overlay.mp4, beside the other output: the video with all objects coloured in and with its sound, whereas highlighted takes the place of the other output and has no sound."),
        preview: bool = Input(default=False, description="On: only the frames with a click, box or mask, as png images with the objects, clicks and boxes drawn in. With text_prompt, also the first frame, with what it finds there. Takes seconds; good for checking what a click finds before a long video is processed. Without any click, box or mask: the first frame with a grid of pixel coordinates, to find out where to click."),
        multimask_output: bool = Input(default=False, description="For still images, and an error for videos: also write the three masks that each click or box may mean, such as candidate_dog_1.png, and rle.json, which says how likely each is."),
        text_prompt: str = Input(default="", description="Words for what to find, separated by commas: every instance of each is found, followed, and named person_1, person_2 and so on. Alone, or together with clicks, boxes and masks: one named person_1 corrects that person, and a click with label 0 named person takes away the person under it. Kinds and colours work; places, sizes and numbers do not. Example: person, red car"),
        negative_prompt: str = Input(default="", description="Words for what must not be found, separated by commas; nothing that they find is part of what text_prompt finds. Example: statue, poster"),
        text_model: str = Input(default="auto", choices=["auto", "owlv2_large", "owlv2_base", "llmdet", "sam3", "pocket"], description="What looks for the words. auto: owlv2_large on a GPU, owlv2_base without one, and pocket with the model pocket. All but pocket need weights of their own, of which the image has those of owlv2_large; Meta gives those of sam3 to who accepts its licence. pocket knows 18 words only, and is for trying things out."),
        text_threshold: float = Input(default=0.0, ge=0, le=1, description="How sure a find must be, from 0 to 1; 0 takes the usual value of text_model. Lower it if something is missed, raise it if something wrong is found; preview shows at once what comes of it. Example: 0.15"),
        text_interval: int = Input(default=10, ge=0, description="Look for what is new on every Nth frame; 0 looks on the first frame only, which is faster. Example: 30"),
        max_objects: int = Input(default=0, ge=0, description="Keep at most so many of what the words find, the surest first; 0 keeps all. Example: 5"),
        enhance_prompt: bool = Input(default=True, description="On: of sentences in text_prompt and negative_prompt only what they name is looked for, such as dog for please segment the two dogs. Off: the words are taken as they are."),
        export_formats: str = Input(default="", description="Further data files, for other programs, separated by commas: davis, coco_tracks, yolo, mot, mots, cvat, label_studio for training and annotation; prores and png_alpha, with transparency, for video editors. Some have another form: coco_tracks=polygons, yolo=parts, prores=objects, png_alpha=objects. Example: davis, coco_tracks"),
        mask_cleaning: str = Input(default="", description="Clean the masks before they are written, in pixels: fill holes and drop dots of at most so many pixels, grow (or with a minus sign shrink) by so many, continue the mask over a border of the picture, smooth the outline. Example: holes=50, dots=20, grow=-1, border=2, smooth=1.5"),
    ) -> Iterator[Path]:
        """Yield the output files, each as soon as it is complete."""
        # fmt: on
        inputs = {name: value for name, value in locals().items() if name != "self"}
        inputs["input_video"] = Path(str(input_video))  # Cog passes a value that is no URL as text
        given = Path(str(mask_prompts or ""))  # the default may come as "", or as Path("")
        inputs["mask_prompts"] = None if given == Path() else given
        request = Request(**inputs)
        try:
            self.output.cleanup()  # only now: Cog reads files after `predict` has yielded them
            self.output = TemporaryDirectory(prefix="sam_video_")
            yield from self.session.predict(request, Path(self.output.name))
        except BaseException as error:  # Cog cancels with an error that is not an Exception
            self.output.cleanup()
            if isinstance(error, Exception) and not isinstance(error, SamVideoError):
                traceback.print_exc()  # Cog itself shows only the last line of it
            raise
        for name in METRICS:
            self.record_metric(name, getattr(self.session.metrics, name))
