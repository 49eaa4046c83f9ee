"""Every private name of torch, transformers and Python that tftrace relies on, and what it does without it.

Nobody promises these names, and a new version may drop one. Nothing else in tftrace uses one, so that then only this
file has to change. Each is looked up here once, which costs hot code nothing; the test of this file looks for all of
them and says which is gone. `since` is the oldest version that we support, which is known to have the name.

Names of attributes are in capitals; what has been looked up is in lower case."""

from __future__ import annotations

from contextlib import nullcontext
from operator import attrgetter, methodcaller

import torch

from .private_names import Register, Then

_STOPS, _ELSE = Then.STOPS, Then.ELSE
_PYTHON, _TRANSFORMERS = "Python 3.10", "transformers 5.0"
KNOWN = {"torch": "2.6 to 2.13", "transformers": "5.20 to 5.24", "Python": "3.10 or a later one of CPython"}
INTERNALS = Register(KNOWN)
_bind, _name, _later = INTERNALS.bind, INTERNALS.name, INTERNALS.later
_NOTHING = "Recording cannot start"

# -- calls of modules, and what stands in one -----------------------------------------------------------

_CALLS = "Only hooks on modules see calls: not those of fused layers, nor of models that record() is not given"
CALL_IMPL = _name("torch.nn:Module._call_impl", "the one place that each call of a module goes through", _CALLS, _ELSE)
FORWARD_HOOKS = _name(
    "torch.nn:Module._forward_hooks",
    "the dict that shallow copies share, such as those of DataParallel, by which they are known",
    *(_CALLS, _ELSE),
    made=torch.nn.Module,
)
FORWARD_PRE_HOOKS = _name(
    "torch.nn:Module._forward_pre_hooks",
    "whether a hook may change what the forward gets, and whether ours is the last",
    *(_CALLS, _ELSE),
    made=torch.nn.Module,
)
forward_pre_hooks = attrgetter(FORWARD_PRE_HOOKS)
MODULES = _name("torch.nn:Module._modules", "the modules in a module", _NOTHING, _STOPS, made=torch.nn.Module)
PARAMETERS = _name("torch.nn:Module._parameters", "its own parameters", _NOTHING, _STOPS, made=torch.nn.Module)
BUFFERS = _name("torch.nn:Module._buffers", "its own buffers", _NOTHING, _STOPS, made=torch.nn.Module)
children_of, parameters_of, buffers_of = attrgetter(MODULES), attrgetter(PARAMETERS), attrgetter(BUFFERS)
_TRACED_LONGER, _SOME = "Recordings of functions and lines take longer", {None: None}  # as if there were one
global_hooks = _bind(
    "torch.nn.modules.module:_global_forward_hooks",
    "whether somebody else's hook runs after the forward of each module",
    *(_TRACED_LONGER, _ELSE),
    instead=_SOME,
)
global_pre_hooks = _bind(
    "torch.nn.modules.module:_global_forward_pre_hooks",
    "whether somebody else's hook runs before it",
    *(_TRACED_LONGER, _ELSE),
    instead=_SOME,
)

# -- tensors and their memory ---------------------------------------------------------------------------

VERSION = _name("torch:Tensor._version", "how often a tensor was written to", _NOTHING, _STOPS)
version_of = attrgetter(VERSION)
BASE = _name("torch:Tensor._base", "which views are views of weights", "Views of weights are kept as inputs are")
base_of = attrgetter(BASE)
_OBJECTS = "A view, or a tensor that is wrapped anew, counts as another tensor"
STORAGE_ADDRESS = _name("torch:UntypedStorage._cdata", "which memory a tensor is in", _OBJECTS)
storage_address = attrgetter(STORAGE_ADDRESS)
WEAK_STORAGE = _name("torch:UntypedStorage._weak_ref", "keeps an address from being used again", _OBJECTS)
weak_storage = methodcaller(WEAK_STORAGE)
storage_is_gone = _bind("torch:UntypedStorage._expired", "whether what is known of it can be forgotten", _OBJECTS)
free_weak_storage = _bind("torch:UntypedStorage._free_weak_ref", "gives a weak reference back", _OBJECTS)

has_amx = _bind(
    "torch.cpu:_is_amx_tile_supported",
    "whether the host may compute products of float32 in bfloat16, where a program allows it",
    "On a host that does, such products are said to differ",
    _ELSE,
    instead=lambda: False,
)
fake = _bind(
    "torch._subclasses.fake_tensor:FakeTensor",
    "tensors without numbers, by which an exporter follows a model",
    "A model that is written by hand may not be exported while it is recorded",
    _ELSE,
    instead=(),
)

# -- modes that watch torch -----------------------------------------------------------------------------

_SEEN = "Modes of others that watch torch see what the recording computes"
disable_function_modes = _bind(
    "torch._C:DisableTorchFunction", "hides our sums from modes that watch functions", _SEEN, instead=nullcontext
)
disable_dispatch_modes = _bind(
    "torch.utils._python_dispatch:_disable_current_modes", "hides our sums from modes", _SEEN, instead=nullcontext
)
_LONGER = "Each piece of a recording takes longer"
count_dispatch_modes = _bind(
    "torch._C:_len_torch_dispatch_stack", "whether our sums are to be hidden", _LONGER, _ELSE, instead=lambda: 1
)
is_traced = _bind(
    "torch._C:_is_tracing",
    "whether torch.jit.trace would note our sums",
    *(_LONGER, _ELSE),
    instead=torch.jit.is_tracing,  # type: ignore[attr-defined]
)
_OPS = "Ops are not recorded"
count_function_modes = _bind(
    "torch._C:_len_torch_function_stack",
    "whether our sums are to be hidden, and whether our mode for ops is on",
    _OPS,
    level="ops",
    instead=lambda: 1,
)
function_mode_at = _bind("torch._C:_get_function_stack_at", "whether our mode for ops is on", _OPS, level="ops")
push_mode = _bind("torch.overrides:_push_mode", "puts it on in the midst of a forward", _OPS, level="ops")
pop_mode = _bind("torch.overrides:_pop_mode", "takes it off from below the modes of others", _OPS, level="ops")

# -- functions that are no ops, and torch's files between a line and an op -------------------------------

_MORE = "Code of torch may be shown in the place of the line that calls an op"
NO_OPS = (
    _name("torch._C:_set_grad_enabled", "no op, though modes are told of it", _MORE, _ELSE),
    _name("torch.amp.autocast_mode:_enter_autocast", "no op, though modes are told of it", _MORE, _ELSE),
    _name("torch.amp.autocast_mode:_exit_autocast", "no op, though modes are told of it", _MORE, _ELSE),
)
OP_WRAPPERS = (
    _bind("torch._tensor", "methods of tensors, behind which is the line that calls", _MORE, _ELSE, instead=torch),
    _bind("torch.utils._device", "the mode of `with torch.device`", _MORE, _ELSE, instead=torch),
    _bind("torch._jit_internal", "functions with two kinds of results", _MORE, _ELSE, instead=torch),
)

_STEPPED = "A debugger that steps on may stop in torch's own code"
_decorated = _bind("torch.utils._contextlib", "torch.no_grad as a decorator", _STEPPED, _ELSE, instead=torch)
CALLING = ("torch.nn.modules.module", _decorated.__name__)  # what stands between a program and what it calls

# -- torch.compile: looked for once it is loaded ---------------------------------------------------------

_COMPILED = "Models compiled with torch.compile are not seen"
COMPILER = "torch._dynamo.eval_frame"
COMPILED_CALL = _name("torch.nn:Module._compiled_call_impl", "the compiled call of a module", _COMPILED)
ORIGINAL = _later(
    "torch._dynamo.eval_frame:OptimizedModule._orig_mod",
    "the module that a compiled one is made of",
    *(_COMPILED, _ELSE),
    made=lambda: torch.compile(torch.nn.Module()),
).name
STANCE = _later("torch._dynamo.eval_frame:_stance", "what is done with what is compiled", _COMPILED)
FORCE_EAGER = _later("torch._dynamo.eval_frame:DynamoStance", "tells it to run eagerly", _COMPILED)
COMPILED_FRAMES = _later(
    "torch._dynamo.utils:counters", "whether a model that nobody saw may have run compiled", _COMPILED, _ELSE
)
_STAYS = "A compiler that was loaded while we recorded calls modules in a way that takes longer"
COPIES = (
    _later("torch._dynamo.utils:unpatched_nn_module_call_impl", "a copy of `_call_impl`", _STAYS, _ELSE),
    _later("torch._dynamo.variables.nn_module:unpatched_nn_module_call_impl", "another copy", _STAYS, _ELSE),
)

# -- gradient checkpointing, and collectives -------------------------------------------------------------

_AGAIN = "What gradient checkpointing computes again is not marked"
checkpoint_frame = _bind(
    "torch.utils.checkpoint:_CheckpointFrame", "holds the function that is run again", _AGAIN, instead=None
)
stop_recomputation = _bind(
    "torch.utils.checkpoint:_StopRecomputationError",
    "ends on purpose what is computed again",
    "What is computed again seems to have failed",
    instead=(),
)
_WRITTEN = "A tensor that a collective of torch.distributed writes to this way is shown with its old statistics"
WRITING = (
    _later("torch.distributed:ProcessGroup._allgather_base", "writes to a tensor", _WRITTEN, _ELSE).name,
    _later("torch.distributed:ProcessGroup._reduce_scatter_base", "writes to a tensor", _WRITTEN, _ELSE).name,
)
preserving_version = _bind(
    "torch.autograd:_unsafe_preserve_version_counter",
    "around writes that are not counted, as FSDP gathers weights",
    *("Weights that FSDP gathers anew are shown with their old statistics", _ELSE),
    instead=None,
)

# -- models without numbers, and models by their names ---------------------------------------------------

_SHAPES = "A model cannot be run for its shapes alone"
TorchDispatchMode = _bind("torch.utils._python_dispatch:TorchDispatchMode", "sees each operator", _SHAPES, _ELSE)
tree_flatten = _bind("torch.utils._pytree:tree_flatten", "finds the tensors given to it", _SHAPES, _ELSE)
tree_unflatten = _bind("torch.utils._pytree:tree_unflatten", "gives it others in their places", _SHAPES, _ELSE)
number_of = _bind("torch:ops.aten._local_scalar_dense", "asks for a number", _SHAPES, _ELSE, instead=None)
grouped_product = _bind(
    "torch:ops.aten._grouped_mm",
    "a product of experts",
    f"{_SHAPES} if it has experts",
    _ELSE,
    "torch 2.8",
    instead=None,
)
FROM_CONFIG = _later(
    "transformers:PreTrainedModel._from_config",
    "makes a model with random weights",
    "A model of a class of its own cannot be made of a config",
    *(_ELSE, _TRANSFORMERS),
).name
MODEL_MAPPING = _later(
    "transformers:AutoModel._model_mapping", "which class a config has", "No head is found", _ELSE, _TRANSFORMERS
).name

# -- Python ---------------------------------------------------------------------------------------------

getframe = _bind("sys:_getframe", "which line calls", _NOTHING, _STOPS, _PYTHON)
_POOLS = "A pool of threads that a program did not shut down is waited for"
current_frames = _bind("sys:_current_frames", "what a pool's thread does", _POOLS, _ELSE, _PYTHON, instead=dict)
pool_queues = _bind("concurrent.futures.thread:_threads_queues", "its tasks", _POOLS, _ELSE, _PYTHON, instead={})
pool_worker = _bind("concurrent.futures.thread:_worker", "what it runs between", _POOLS, _ELSE, _PYTHON, instead=None)


def sees_ops() -> bool:
    """Whether torch functions can be recorded as ops."""
    return not any(one.level == "ops" for one in INTERNALS.gone)


def knows_storages() -> bool:
    """Whether tensors can be identified by their memory."""
    return not any(one.without == _OBJECTS for one in INTERNALS.gone)


def sees_all_calls() -> bool:
    """Whether the calls of all modules can be intercepted."""
    return not any(one.without == _CALLS for one in INTERNALS.gone)
