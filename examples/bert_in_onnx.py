"""BERT as ONNX Runtime computes it, compared with the one of transformers (pip install onnx onnxscript onnxruntime).

python examples/bert_in_onnx.py
"""

from pathlib import Path

import numpy
import onnx
import onnxruntime
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import tftrace
from tftrace.cli import main
from tftrace.demo import demo_folder

NAME = Path(__file__).stem


def every_tensor_of(program: onnx.ModelProto, ids: numpy.ndarray) -> dict[str, numpy.ndarray]:
    """Run a program with the outputs of all its nodes as outputs, in order."""
    inferred = onnx.shape_inference.infer_shapes(program)
    numbers = {
        one.name for one in inferred.graph.value_info if one.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    given = {one.name for one in program.graph.output}
    made = [name for node in program.graph.node for name in node.output if name in numbers - given]
    program.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    session = onnxruntime.InferenceSession(program.SerializeToString())
    order = {name: at for at, name in enumerate(name for node in program.graph.node for name in node.output)}
    wanted = sorted((one.name for one in session.get_outputs()), key=order.__getitem__)
    inputs = {one.name: ids if "ids" in one.name else numpy.ones_like(ids) for one in session.get_inputs()}
    return dict(zip(wanted, session.run(wanted, inputs), strict=True))


def compare() -> int:
    """Export the demo BERT, dump what ONNX Runtime computes, record the one of transformers, and compare the two."""
    model = AutoModelForSequenceClassification.from_pretrained(demo_folder("bert")).eval()
    ids = AutoTokenizer.from_pretrained(demo_folder("bert"))("a wonderful film", return_tensors="pt").input_ids
    exported = torch.onnx.export(model, (ids,), input_names=["input_ids"], dynamo=True, optimize=True)
    assert exported is not None
    numpy.savez(f"{NAME}.npz", **every_tensor_of(exported.model_proto, ids.numpy()))
    with torch.no_grad(), tftrace.record(model, "bert.tftrace", values="auto", overwrite=True):
        model(ids)
    return main(["compare", "bert.tftrace", f"{NAME}.npz"])


if __name__ == "__main__":
    raise SystemExit(compare())
