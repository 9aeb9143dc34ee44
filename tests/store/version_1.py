"""What version 0.1 wrote, to the byte: an output with its manifest, and the journal of a run that was interrupted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from vidfeat.store import WorkIdentity

KEYS = ["a.mp4", "b.mp4", "c.mp4"]
VALUES = {"a.mp4": [0.5, 0.0, 1.0], "c.mp4": [2.5, -2.0, 0.25]}
IDENTITY = WorkIdentity(hashlib.sha256(b'{"schema":1}').hexdigest(), "b" * 64, "fp32")

_HEADER = (
    '{"vidfeat_manifest": 1, "recipe": {"schema": 1}, '
    '"recipe_digest": "67d6291b301412df4a6ca7808aeafac9d0587b06ece3c68e72bab0157cd9d52c", '
    '"checkpoint": {"source": "model.pth", '
    '"sha256": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}, "precision": "fp32", '
    '"decoder": "pyav", "device": "cpu", "numerics": {"kernels": "eager", "units_per_batch": [5], '
    '"cosine_to_fp32": null}, "versions": {"vidfeat": "0.1.0", "python": "3"}, '
    '"list_digest": "7130324d4e1b5bd709a9dc251adfe82542f34aeeb16b6e81b4bec346498687a2", "videos": 3, '
    '"failed": 1, "output": "OUTPUT", "format": "FORMAT"}'
)
_LINES = (
    '{"index": 0, "name": "a.mp4", "status": "done", "shape": [3], "dtype": "float32", "frames": 250, '
    '"frames_declared": null, "salvaged": false, "fps": 29.97, "seconds": 8.341675008341676, '
    '"sha256": "0d0bdbd3c52c45338229adf233def51e185b36c68c8be89198fa0c5fa5e3bc85", "error": null}\n'
    '{"index": 1, "name": "b.mp4", "status": "failed", "shape": null, "dtype": null, "frames": null, '
    '"frames_declared": null, "salvaged": null, "fps": null, "seconds": null, "sha256": null, '
    '"error": {"stage": "decode", "kind": "corrupt", "message": "b.mp4: expected frames; found none."}}\n'
    '{"index": 2, "name": "c.mp4", "status": "done", "shape": [3], "dtype": "float32", "frames": 252, '
    '"frames_declared": 300, "salvaged": true, "fps": 29.97, "seconds": 8.408408408408409, '
    '"sha256": "8ff6f88290b660a32c809ec5c8bf5ef5cbe8f242a3f0d21477f1d397f34410df", "error": null}\n'
)
_PICKLE = bytes.fromhex(
    "8002636e756d70792e636f72652e6d756c746961727261790a5f7265636f6e7374727563740a710030636e756d70790a6e646172"
    "7261790a710130635f636f646563730a656e636f64650a71023058060000006c6174696e31710330680258010000006268038652"
    "710430636e756d70790a64747970650a5802000000663489888752284a0300000058010000003c4e4e4e4affffffff4affffffff"
    "4a0000000074627105305d28680068014a000000008568048752284a01000000284a03000000746805896802580d000000000000"
    "3f000000000000c2803f6803865274624e680068014a000000008568048752284a01000000284a03000000746805896802580e00"
    "000000002040000000c3800000c2803e680386527462652e"
)
_JOURNAL = bytes.fromhex(
    "56464a316301000000000000000000005bad14717b227265636f7264223a226f70656e6564222c226964656e74697479223a7b22"
    "7265636970655f646967657374223a22363764363239316233303134313264663461366361373830386165616661633964303538"
    "37623036656365336336386537326261623031353763643964353263222c22636865636b706f696e745f736861323536223a2262"
    "62626262626262626262626262626262626262626262626262626262626262626262626262626262626262626262626262626262"
    "6262626262626262626262222c22707265636973696f6e223a2266703332222c226c6973745f646967657374223a223731333033"
    "32346434653162356264373039613964633235316164666538323534326633346165656231366236653831623462656333343634"
    "39383638376132222c226465636f646572223a2270796176227d2c2272616e6b223a302c22776f726c645f73697a65223a312c22"
    "76657273696f6e223a317d56464a31f10000000c0000001a7cb8070b2df17f7b227265636f7264223a22646f6e65222c22696e64"
    "6578223a302c226e616d65223a22612e6d7034222c227368617065223a5b335d2c22736861323536223a22306430626462643363"
    "35326334353333383232396164663233336465663531653138356233366336386338626538393139386661306335666135653362"
    "633835222c226672616d6573223a3235302c22667073223a32392e39372c227365636f6e6473223a382e33343136373530303833"
    "34313637362c226474797065223a22666c6f61743332222c2273616c7661676564223a66616c73652c226672616d65735f646563"
    "6c61726564223a6e756c6c7d0000003f000000000000803f56464a317e00000000000000000000005f3172937b227265636f7264"
    "223a226661696c6564222c22696e646578223a312c226e616d65223a22622e6d7034222c227374616765223a226465636f646522"
    "2c226b696e64223a22636f7272757074222c226d657373616765223a22622e6d70343a206578706563746564206672616d65733b"
    "20666f756e64206e6f6e652e227d"
)


def write_finished(out: Path) -> None:
    """`feats.pkl` or the folder `feats`, of three videos, of which the second failed; with the journal that is left."""
    if out.suffix:
        out.write_bytes(_PICKLE)
    else:
        out.mkdir()
        for key, values in VALUES.items():
            np.save(out / key.replace(".mp4", ".npy"), np.array(values, np.float32))
    header = _HEADER.replace("OUTPUT", out.name).replace("FORMAT", "pkl" if out.suffix else "npy")
    out.with_name(f"{out.name}.manifest.jsonl").write_text(f"{header}\n{_LINES}")
    write_interrupted(out)


def write_interrupted(out: Path) -> None:
    """The journal of a run, without an output."""
    folder = out.with_name(f"{out.name}.journal")
    folder.mkdir()
    (folder / "rank-00000.vfj").write_bytes(_JOURNAL)
    (folder / "kernels").write_text("eager")
