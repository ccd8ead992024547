"""Small files by hand that a reader must refuse: each breaks one rule.

`python -m tests.embed.bad_safetensors_files FOLDER` writes them and the good ones, for a
fuzzer to begin with.
"""

import sys
from pathlib import Path

from tests.embed.safetensors_files import (
    CELLS,
    DATA,
    GOOD,
    HEADER,
    LATER,
    METADATA,
    ONE,
    TENSORS,
    TEXT,
    both,
    cell,
    inserted,
    metadata,
    of_type,
    pack,
    ranges,
    replaced,
    tensor,
    unbiased,
    wide,
    without,
)

NO_SIZES = (
    "",
    "-1",
    "+1",
    " 1",
    "1 ",
    "0x1",
    "1.0",
    "1e0",
    "x",
    "1\\u0000",
    *map(str, (2**64, 2**64 + 1, 5 * 2**64, 5 * 2**64 + 1)),
)
NO_FLAGS = ("", "true", "1", "yes", "True ", "FALSE")
HUGE = 2**62

BAD = {
    # the frame
    "nothing": b"",
    "half a length": b"\2\0\0\0",
    "a length alone": bytes(8),
    "one byte too long": pack(TEXT, b"", len(TEXT) + 1),
    "the longest length": pack(TEXT, DATA, 2**64 - 1),
    "a length of a sign": pack(TEXT, DATA, 2**63),
    "no number": pack(TEXT, b""),
    "a byte less": pack(TEXT, DATA[:-1]),
    "a byte more": pack(TEXT, DATA + b"\0"),
    # the JSON
    "an empty object": pack(b"{}"),
    "a list": pack(b"[" + TEXT + b"]"),
    "a blank first": pack(b" " + TEXT),
    "something after it": pack(TEXT + b"x"),
    "zeros after it": pack(TEXT + b"\0"),
    "twice": pack(TEXT + TEXT),
    "an open object": pack(TEXT[:-1]),
    "a comma too many": pack(TEXT[:-1] + b",}"),
    "a comma too few": replaced('},"weight_hh', '}"weight_hh'),
    "no colon": replaced('"__metadata__":', '"__metadata__"'),
    "a semicolon": replaced('"__metadata__":', '"__metadata__";'),
    "a name without quotes": replaced('"__metadata__"', "__metadata__"),
    "single quotes": replaced('"__metadata__"', "'__metadata__'"),
    "a comment": replaced('"__metadata__"', '/**/"__metadata__"'),
    **{
        f"the end after {text}": pack(text.encode(), b"")  # and of the block
        for text in (
            *("{", '{"', '{"a', '{"a"', '{"a":', '{"a":{', '{"\\', r'{"\u', r'{"\u00', r'{"\ud83d'),
            *('{"\\ud83d\\', r'{"\ud83d\u', r'{"\ud83d\ude0', TEXT.decode()[:-1]),
        )
    },
    **{f"a raw {byte}": inserted(f'"a{chr(byte)}":""') for byte in (0, 9, 10, 31)},
    **{
        f"the escape {escape}": inserted(f'"{escape}":""')
        for escape in (
            *(r"\x41", r"\u12", r"\u12g4", r"\U0041", r"\ ", r"\ud83d", r"\ude00"),
            *(
                r"\ud83d\ud83d",
                r"\ud83d\u0041",
                r"\ud83dxude00",
                r"\ud83d\nde00",
                r"\ud83d\ue000",
                r"\ude00\ude00",
                r"\'",
                "\\\0",
                r"\u+041",
            ),
        )
    },
    # the metadata
    "no metadata": without("__metadata__"),
    "metadata alone": without(*TENSORS),
    "empty metadata": pack(HEADER | {"__metadata__": {}}),
    "null metadata": pack(HEADER | {"__metadata__": None}),
    "metadata twice": pack(TEXT[:-1] + b',"__metadata__":{"a":""}}'),
    "a number as value": inserted('"a":1'),
    "an object as value": inserted('"a":{"b":{"c":{"d":{}}}}'),
    "a list as value": inserted('"a":[[[[[[]]]]]]'),
    "null as value": inserted('"a":null'),
    "a key of ours twice": inserted('"clstm.bias":"True"'),
    "a key of ours twice, escaped": inserted(r'"clstm\u002ebias":"True"'),
    "another's key twice": inserted('"a":"","b":"","a":""'),
    "another's key twice, escaped": inserted(r'"é":"","e":"","\u00e9":""'),
    **{
        f"another's key twice, {raw} and {escaped}": inserted(f'"{raw}":"","{escaped}":""')
        for raw, escaped in (
            *(("A", r"\u0041"), ("\x7f", r"\u007F"), ("\x80", r"\u0080"), ("\u07ff", r"\u07ff")),
            *(("\u0800", r"\u0800"), ("€", r"\u20ac"), ("\uffff", r"\uffff")),
            *(("😀", r"\ud83d\ude00"), ("\U00010000", r"\ud800\udc00")),
            *(("\U0010ffff", r"\udbff\udfff"), (r"\n", r"\u000a"), ("/", r"\/")),
        )
    },
    "an unknown key of ours": inserted('"clstm.colour":"red"'),
    "an unknown key of ours, escaped": inserted(r'"clstm\u002ecolour":"red"'),
    **{f"no {key}": metadata(**{key[6:]: None}) for key in METADATA if key not in LATER},
    **{f"format {text}": metadata(format=text) for text in ("", "0", "2", "01", "1 ", "1.0")},
    **{
        f"{name} is '{text}'": replaced(f'"clstm.{name}":"{value}"', f'"clstm.{name}":"{text}"')
        for name, value in (("input_size", 1), ("num_layers", 1), ("proj_size", 0))
        for text in NO_SIZES
    },
    **{
        f"{name} is '{text}'": metadata(**{name: text})
        for name in ("bidirectional", "bias", "batch_first", "learn_state")
        for text in NO_FLAGS
    },
    "a digit after nine": wide(10, ":"),
    "a digit before zero": wide(9, "1/"),
    "no bias and no word of it": unbiased(None),
    **{f"{name} is 0": metadata(**{name: "0"}) for name in ("input_size", "hidden_size")},
    "no layers": metadata(num_layers="0"),
    "both directions and one": both(direction="reverse"),
    "an unknown direction": metadata(direction="both"),
    "unknown activations": inserted('"clstm.activations":"quick"'),
    "an unknown dtype": metadata(dtype="float16"),
    "a projection as large as h": metadata(proj_size="1"),
    "sizes that can't be counted": metadata(hidden_size=str(HUGE)),
    "layers that can't be counted": metadata(num_layers=str(2**64 - 1)),
    "sizes that wrap": metadata(input_size=str(HUGE + 1)),
    "more layers than tensors": metadata(num_layers="2"),
    "a readout that is not there": metadata(output_size="1"),
    "a state that is not there": metadata(learn_state="True"),
    "a bias that is not meant": metadata(bias="False"),
    "a direction that is not there": metadata(bidirectional="True"),
    # the cell
    **{f"peephole is '{text}'": cell(peephole=text) for text in NO_FLAGS},
    "peepholes that are not there": cell(peephole="True"),
    **{
        f"clip is '{text}'": cell(clip=text)
        for text in (
            *(
                "",
                "0",
                "1",
                "1.0",
                "inf",
                "nan",
                "1e3",
                "-",
                "0x",
                "0x1",
                "0x1.",
                "0x1.p+0",
                "0x1.8",
            ),
            *("0x1.8p", "0x1.8p+", "0x1.8p0", "0x2.0p+0", "0x1.0p+1024", "0x1.0p-1023", "0x0.8p+0"),
            *("0x0.0p-1022", f"0x1.{14 * '0'}p+0", " " + ONE, ONE + " ", "-" + ONE, ONE + "\0"),
            *(f"0x1.0p+{9 * '9'}", 60 * "0", "0X1.0p+0", "0x1.0P+0"),
        )
    },
    "an unknown function": cell(gate="swish"),
    "a function without its parameters": cell(cell="affine"),
    "a function without one of them": cell(cell="affine", cell__alpha=ONE),
    "a parameter that the function lacks": cell(gate="sigmoid", gate__alpha=ONE),
    "a second parameter": cell(gate="elu", gate__alpha=ONE, gate__beta=ONE),
    "a parameter without a function": cell(hidden__alpha=ONE),
    "an infinite parameter": cell(gate="elu", gate__alpha="inf"),
    "an unknown slot": cell(output="tanh"),
    # the tensors
    "a tensor too few": without("weight_ih_l0"),
    "a tensor that is unknown": pack(HEADER | {"a": TENSORS["bias_l0"]}),
    "a tensor of no size": pack(
        HEADER | {"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    ),
    "a tensor of another name": replaced('"bias_l0"', '"bias_l1"'),
    "a longer name": replaced('"bias_l0"', '"bias_l0 "'),
    "a shorter name": replaced('"bias_l0"', '"bias_l"'),
    "a tensor twice": replaced('"weight_hh_l0"', '"weight_ih_l0"'),
    "a tensor twice, escaped": replaced('"weight_hh_l0"', r'"weight_\u0069h_l0"'),
    "a tensor more than once": pack(TEXT[:-1] + b"," + TEXT[TEXT.index(b'"bias_l0"') :]),
    "a tensor that is none": pack(HEADER | {"bias_l0": "F32"}),
    "a tensor of nothing": pack(HEADER | {"bias_l0": {}}),
    **{f"no {field}": tensor(**{field: None}) for field in TENSORS["bias_l0"]},
    "an unknown field": tensor(colour="red"),
    "an unknown field, deep": tensor(colour={"a": {"b": {"c": {}}}}),
    "a field of no value": replaced('"shape":[4],', '"shape":[4],"a":,'),
    "a field twice": replaced('"shape":[4],', '"shape":[4],"shape":[4],'),
    "a field twice, escaped": replaced('"shape":[4],', r'"shape":[4],"sh\u0061pe":[4],'),
    **{f"of type {name}": of_type(name, size) for name, size in (("F16", 2), ("I32", 4))},
    "of type I64": of_type("I64", 8, "float64"),
    **{f"as type {name}": tensor(dtype=name) for name in ("I32", "f32", "F32 ", "", 32, [])},
    "one of type F64": tensor(dtype="F64"),
    "one of type F64 with the size of F32": tensor("bias_l0", dtype="F64", shape=[2]),
    "float64 by metadata alone": metadata(dtype="float64"),
    "float64 by metadata and size": of_type("F32", 8, "float64"),
    "float64 by tensors alone": of_type("F64", 8),
    "float64 by tensors' names alone": of_type("F64", 4),
    **{
        f"of shape {shape}": tensor(shape=shape)
        for shape in (
            *([], [4], [1, 4], [2, 2], [4, 2], [4, 0], [-4, -1], [4.0, 1]),
            *([4, 1, 1], [[4, 1]], 4, "4"),
        )
    },
    "a vector of two axes": tensor("bias_l0", shape=[4, 1]),
    **{
        f"of shape [{text}]": replaced('"shape":[4],', f'"shape":[{text}],')
        for text in (
            "04",
            "+4",
            "4.",
            "4e0",
            "0x4",
            "4,",
            ",4",
            "4 4",
            str(2**64 + 4),
            str(5 * 2**64 + 4),
            str(HUGE + 1),
        )
    },
    **{
        f"at {range_}": tensor(data_offsets=range_)
        for range_ in ([], [16], [16, 32, 32], [32, 16], [16, 31], [17, 33], [-16, 0], [[16, 32]])
    },
    **{
        f"at [{text}]": replaced('"data_offsets":[0,16]', f'"data_offsets":[{text}]')
        for text in (
            "00,16",
            "-0,16",
            "0,16.0",
            f"{2**64},16",
            f"0,{2**64 + 16}",
            f"{2**64 - 16},0",
        )
    },
    "an overlap": ranges([0, 16], [0, 16], [32, 48]),
    "all at one place": ranges([0, 16], [0, 16], [0, 16]),
    "a gap": ranges([0, 16], [20, 36], [36, 52]),
    "a gap first": ranges([4, 20], [20, 36], [36, 52]),
    "half over the end": ranges([0, 16], [16, 32], [40, 56]),
    "far over the end": ranges([0, 16], [16, 32], [HUGE, HUGE + 16]),
}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate([*GOOD.values(), *CELLS.values(), *BAD.values()]):
        (folder / f"{number:03d}").write_bytes(content)
