"""`vidfeat predict`: the classes that a model sees in videos."""

from __future__ import annotations

import json

import click

from vidfeat.cli import options
from vidfeat.cli.command import Command
from vidfeat.cli.flags import in_flags
from vidfeat.cli.process import EXIT_SOME_FAILED, ctrl_c, echo
from vidfeat.errors import CheckpointError, UsageError, quote


@click.command(
    cls=Command,
    short_help="Print the classes that a model predicts for videos.",
    epilog="Nothing is written. For the scores of all classes use vidfeat extract --scores.",
)
@options.model()
@options.videos
@options.checkpoint("Weights of the model; not needed for a released model.")
@click.option("--top", type=options.count, default=5, metavar="N", help="Number of classes to print (default: 5).")
@click.option(
    "--class-names",
    metavar="NAME|FILE",
    type=options.PATH_TEXT,
    help="Names of the classes: a data set, or a text file with one name per line (default: those of the data set in "
    "the model's name).",
)
@click.option("--few-views", is_flag=True, help="Use few views of the test pipeline instead of all, which is faster.")
@options.cfg_options
@options.device()
@options.as_json("Print one line of JSON per video.")
def predict(
    model: str,
    videos: options.VideoFlags,
    checkpoint: str | None,
    top: int,
    class_names: str | None,
    few_views: bool,
    cfg_options: tuple[str, ...],
    device: str,
    as_json: bool,
) -> int:
    """Print the classes that a model predicts for videos, with their probabilities, one line per video.

    MODEL is the name of a released model, or the path of an MMAction2 config. The videos are files, folders, globs,
    URIs, lists such as list.txt, or those of --video-list.
    """
    options.require_model_first(model)
    import vidfeat
    from vidfeat.mmaction.zoo.labels import labels_of

    found = videos.find()
    vidfeat.prewarm(1)
    ctrl_c.begin_work("numpy", "torch", "av", "cv2")
    from vidfeat.tools.predict import best

    try:
        encoder = vidfeat.encoder(
            model,
            checkpoint=checkpoint,
            cfg_options=options.overrides(cfg_options),
            request=vidfeat.FeatureRequest(views="few" if few_views else "all", scores=True),
            progress=True,
        )
    except UsageError as error:
        if error.where != "request.scores":  # nobody typed that
            raise
        raise UsageError("MODEL", expected=error.expected, found=f"{quote(model)}, {error.found}") from None
    names, missing = None, ""
    try:
        names = labels_of(model, encoder.feature_size, class_names)
    except CheckpointError as error:
        if class_names is not None:
            raise
        missing = f": {error}"
    if names is None and not as_json:
        echo(f"vidfeat: note: classes are shown as numbers; --class-names gives them names{missing}", err=True)
    failed = False
    for outcome in vidfeat.stream(vidfeat.Job(videos=found, encoders=encoder, device=device)):
        if isinstance(outcome, vidfeat.VideoFailure):
            failed = True
            words = in_flags(outcome.error)
            echo(
                json.dumps({"video": outcome.key, "error": words}) if as_json else f"{outcome.key}: {words}",
                err=not as_json,
            )
            continue
        classes = best(outcome, encoder, top=top)
        if as_json:
            top_ones = [
                {"class": number, "label": None if names is None else names[number], "probability": share}
                for number, share in classes
            ]
            echo(json.dumps({"video": outcome.key, "top": top_ones}))
        else:
            words = ", ".join(f"{number if names is None else names[number]} {share:.1%}" for number, share in classes)
            echo(f"{outcome.key}: {words}")
    return EXIT_SOME_FAILED if failed else 0
