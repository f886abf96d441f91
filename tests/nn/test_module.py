"""The module: a dict of its state that prints, trains, freezes, updates and saves itself as MLX's does."""

import copy
import pickle

import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn
from arrax.utils import tree_flatten, tree_map


def make(mx, nn):
    """A module with everything that a module may hold, of either framework."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = mx.zeros((2,))
            self.parts = [nn.Linear(2, 3), {"x": nn.ReLU(), "y": mx.ones((1,))}, 3]
            self.pair = (nn.Linear(1, 1), mx.ones((2,)))
            self.number = 5
            self._private = mx.ones((3,))
            self.table = {"a": mx.ones((1,)), "b": {"c": mx.array([2])}}
            self.function = len
            self._hidden = nn.Sequential(nn.Linear(1, 1), nn.Tanh())
            self.nothing = []

    return Mixed()


def make_both(oracle):
    return make(mx, nn), make(oracle.core, oracle.nn)


def shapes(tree):
    return tree_map(lambda x: x.shape if hasattr(x, "shape") else x, tree)


def test_reads_the_tree(oracle):
    ours, theirs = make_both(oracle)
    assert repr(ours) == repr(theirs)
    assert list(ours) == list(theirs)
    assert vars(ours).keys() == vars(theirs).keys()
    assert shapes(ours.parameters()) == shapes(theirs.parameters())
    assert repr(tree_map(lambda _: 0, ours.parameters())) == repr(tree_map(lambda _: 0, theirs.parameters()))
    assert repr(ours.children()) == repr(theirs.children())
    assert repr(ours.leaf_modules()) == repr(theirs.leaf_modules())
    assert [(k, repr(v)) for k, v in ours.named_modules()] == [(k, repr(v)) for k, v in theirs.named_modules()]
    assert [repr(m) for m in ours.modules()] == [repr(m) for m in theirs.modules()]
    seen = []
    assert ours.apply_to_modules(lambda name, module: seen.append(name)) is ours
    assert seen == [name for name, _ in theirs.named_modules()]
    assert ours.state is ours
    assert nn.Module.is_module(ours) and not nn.Module.is_module({})


def test_prints_like_mlx(oracle):
    def model(nn):
        class Named(nn.Module):
            def __init__(self):
                super().__init__()
                self.a = nn.ReLU()
                self.b = [nn.Linear(1, 2, bias=False), nn.Sequential(nn.Tanh())]

            def _extra_repr(self):
                return "x=1"

        return nn.Sequential(Named(), nn.Sequential(Named(), nn.Identity()))

    assert repr(model(nn)) == repr(model(oracle.nn))


def test_attributes():
    module = nn.Module()
    module.x = mx.ones((1,))
    assert "x" in module and "x" not in vars(module) and module["x"] is module.x
    module.x = 3
    assert "x" not in module and module.x == 3
    module.x = [mx.ones((1,))]
    assert "x" in module and "x" not in vars(module)
    module["y"] = mx.ones((1,))
    assert module.y.shape == (1,)
    del module.x, module.y
    assert not hasattr(module, "x") and not module
    for access in (lambda: module.x, lambda: delattr(module, "x"), lambda: setattr(module, "training", False)):
        with pytest.raises(AttributeError, match=r"x|training"):
            access()
    with pytest.raises(AttributeError, match="keys"):
        module.keys = mx.ones((1,))
    with pytest.raises(TypeError):
        hash(module)


def with_descriptors(mx, nn):
    """A module whose class has descriptors under the names that are assigned."""

    class Unset:
        def __get__(self, module, owner=None):
            if module is None:
                return self
            raise AttributeError("unset")

    class Described(nn.Module):
        __slots__ = ("slot",)
        plain = Unset()

        @property
        def broken(self):
            return self.missing

        @property
        def refusing(self):
            raise ValueError("not now")

        @property
        def settable(self):
            return self._kept

        @settable.setter
        def settable(self, value):
            self._kept = value

    return Described()


@pytest.mark.parametrize("name", ["slot", "plain", "broken", "refusing", "settable"])
def test_an_attribute_that_the_class_cannot_give_is_state(oracle, name):
    def seen(mx, nn):
        module, log = with_descriptors(mx, nn), []
        for value in (mx.ones((2,)), [mx.ones((1,))], {"a": nn.Linear(1, 1)}, (1, 2)):
            for act in (lambda v=value: setattr(module, name, v), lambda: type(getattr(module, name)).__name__):
                try:
                    log.append(act())
                except (AttributeError, ValueError) as error:
                    log.append(type(error).__name__)
            log.append(list(module))
        try:
            delattr(module, name)
        except AttributeError:
            log.append("no such attribute")
        return [*log, list(module)]

    assert seen(mx, nn) == seen(oracle.core, oracle.nn)


def test_properties():
    class Doubling(nn.Module):
        def __init__(self):
            super().__init__()
            self._x = mx.array(0)

        @property
        def x(self):
            return self._x

        @x.setter
        def x(self, value):
            self._x = value * 2

        @property
        def broken(self):
            return self.missing

    module = Doubling()
    module.x = mx.array(3)
    assert module.x.item() == 6 and list(module) == ["_x"]
    with pytest.raises(AttributeError, match="missing"):
        _ = module.broken


def test_copies():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).freeze()
    for twin in (copy.copy(model), copy.deepcopy(model)):
        assert repr(twin) == repr(model) and twin._no_grad == model._no_grad
    twin = copy.deepcopy(model)
    twin.layers[0].weight = mx.zeros((2, 2))
    assert model.layers[0].weight.sum().item() != 0
    empty = nn.Sequential(nn.Tanh())
    assert repr(pickle.loads(pickle.dumps(empty))) == repr(empty)


def test_filter_and_map(oracle):
    ours, theirs = make_both(oracle)
    for filter_fn, map_fn, is_leaf_fn in [
        (lambda m, k, v: hasattr(v, "shape") and v.ndim == 2, lambda x: x.shape, None),
        (lambda m, k, v: "." not in k, lambda x: str(type(x).__name__), None),
        (lambda m, k, v: isinstance(v, (dict, list)), None, lambda m, k, v: "." in k),
    ]:
        assert repr(ours.filter_and_map(filter_fn, map_fn, is_leaf_fn)) == repr(
            theirs.filter_and_map(filter_fn, map_fn, is_leaf_fn)
        )
    with pytest.raises(RuntimeError):
        nn.Linear(1, 1).filter_and_map(lambda m, k, v: True, is_leaf_fn=lambda m, k, v: False)


def test_freeze(oracle):
    ours, theirs = make_both(oracle)

    def agree():
        assert shapes(ours.trainable_parameters()) == shapes(theirs.trainable_parameters())
        for (_, a), (_, b) in zip(ours.named_modules(), theirs.named_modules(), strict=True):
            assert a._no_grad == b._no_grad

    agree()
    for method, arguments in [
        ("freeze", {}),
        ("unfreeze", {"keys": "weight"}),
        ("unfreeze", {"recurse": False}),
        ("freeze", {"keys": ["weight", "unknown"]}),
        ("freeze", {"keys": ["weight", "bias"], "strict": True}),
        ("unfreeze", {"keys": "bias", "strict": True}),
        ("freeze", {"recurse": False}),
        ("unfreeze", {}),
    ]:
        assert getattr(ours, method)(**arguments) is ours
        getattr(theirs, method)(**arguments)
        agree()
    for arguments in ({}, {"recurse": False}):
        with pytest.raises(KeyError):
            ours.freeze(keys="unknown", strict=True, **arguments)
        with pytest.raises(KeyError):
            ours.unfreeze(keys="unknown", strict=True, **arguments)
    with pytest.raises(KeyError):
        ours.freeze(keys="bias", strict=True, recurse=False)


def test_running_statistics_stay_frozen():
    model = nn.Sequential(nn.BatchNorm(2))
    assert model.layers[0].unfreeze() is model.layers[0]
    for unfreeze in (lambda: model.unfreeze(), lambda: model.unfreeze(keys="running_mean")):
        model.freeze()
        unfreeze()
        assert {"running_mean", "running_var"} <= model.layers[0]._no_grad
    model.unfreeze()
    assert [name for name, _ in tree_flatten(model.trainable_parameters())] == ["layers.0.weight", "layers.0.bias"]


def test_train_and_eval():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    assert model.training and model.eval() is model
    assert not any(m.training for m in model.modules())
    assert model.train() is model
    assert all(m.training for m in model.modules())
    model.train(False)
    assert not model.layers[1].layers[0].training


def test_update(oracle):
    ours, theirs = make_both(oracle)
    new = {
        "parts": [{"weight": mx.ones((5,))}, {"y": mx.zeros((4,))}, {}],
        "table": {"b": {"c": mx.ones((7,))}},
        "_private": mx.ones((1,)),
    }
    assert ours.update(new) is ours
    theirs.update(oracle.give(new))
    assert [(k, v.shape) for k, v in tree_flatten(ours.parameters())] == [
        (k, v.shape) for k, v in tree_flatten(theirs.parameters())
    ]
    assert ours._private.shape == (1,)
    one = mx.ones((1,))
    for wrong in [
        {"unknown": one},
        {"number": one},
        {"weight": 3},
        {"weight": {"a": one}},
        {"weight": {}},
        {"parts": [{}, {}, {}, {}]},
        {"parts": {"weight": one}},
        {"parts": [one]},
        {"parts": ({"weight": one},)},
        {"table": {"q": one}},
        5,
    ]:
        with pytest.raises(ValueError, match="Module"):
            ours.update(wrong)
        with pytest.raises(ValueError):
            theirs.update(oracle.give(wrong))
    before = shapes(ours.parameters())
    for ignored in ({"unknown": one}, {"number": one}, {"parts": [{}, {}, {}, {}]}, {"parts": [one]}):
        ours.update(ignored, strict=False)
        assert shapes(ours.parameters()) == before and ours.number == 5


def test_update_modules(oracle):
    def change(nn):
        model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU(), {"x": nn.Tanh(), "y": 3}))
        assert model.update_modules({"layers": [{}, {"layers": [nn.GELU(), {"x": nn.Softmax()}]}]}) is model
        model.update_modules({"layers": [nn.Embedding(2, 2)]})
        model.update_modules({"layers": [None, {"unknown": nn.GELU()}, nn.GELU()]}, strict=False)
        return model

    assert repr(change(nn)) == repr(change(oracle.nn))
    ours, theirs = make_both(oracle)
    for wrong in [
        {"unknown": nn.Linear(1, 1)},
        {"weight": nn.Linear(1, 1)},
        {"parts": mx.ones((1,))},
        {"parts": [mx.ones((1,))]},
        {"parts": [3]},
        {"parts": [{}, {}, {}, {}]},
        {"parts": [{"weight": nn.Linear(1, 1)}]},
        3,
    ]:
        with pytest.raises(ValueError, match="Module"):
            ours.update_modules(wrong)
    with pytest.raises(ValueError):
        theirs.update_modules({"parts": [3]})


def test_apply_and_set_dtype(oracle):
    ours, theirs = make_both(oracle)
    ours.set_dtype(mx.float16)
    theirs.set_dtype(oracle.core.float16)
    dtypes = [(k, str(v.dtype).split(".")[-1]) for k, v in tree_flatten(ours.parameters())]
    assert dtypes == [(k, str(v.dtype).split(".")[-1]) for k, v in tree_flatten(theirs.parameters())]
    assert ("table.b.c", "int32") in dtypes
    ours.set_dtype(mx.float32, None)
    assert {v.dtype for _, v in tree_flatten(ours.parameters())} == {mx.float32}
    ours.set_dtype(mx.float16, lambda dtype: False)
    assert ours.weight.dtype == mx.float32
    assert ours.apply(lambda x: x + 1) is ours
    assert ours.weight.tolist() == [1, 1]
    ours.apply(lambda x: x + 1, lambda m, k, v: k == "weight")
    assert ours.weight.tolist() == [2, 2] and ours.table["a"].tolist() == [2]


def test_load_weights_from_a_list(oracle):
    for nn_, mx_ in ((nn, mx), (oracle.nn, oracle.core)):
        weight, bias = mx_.ones((3, 2)), mx_.zeros((3,))
        layer = nn_.Linear(2, 3)
        assert layer.load_weights([("weight", weight), ("bias", bias)]) is layer
        assert layer.weight is weight
        for wrong in [
            [("weight", weight)],
            [("weight", weight), ("bias", bias), ("b", bias), ("a", bias)],
            [("weight", weight.T), ("bias", bias)],
            [("weight", weight.tolist()), ("bias", bias)],
        ]:
            with pytest.raises(ValueError):
                layer.load_weights(wrong)
        assert layer.weight is weight
        layer.load_weights([("bias", weight), ("unknown", bias)], strict=False)
        assert layer.bias is weight
        layer.load_weights([], strict=False)


@pytest.mark.parametrize("names", [["weight"], [], ["weight", "bias", "b", "a"], ["weight", "biases"]])
def test_weights_that_do_not_fit_are_named_in_the_words_of_mlx(oracle, names):
    def words(mx, nn, given):
        with pytest.raises(ValueError) as caught:
            nn.Linear(2, 3).load_weights([(name, mx.ones((3, 2))) for name in given])
        return " ".join(str(caught.value).removeprefix("[load_weights] ").split())

    assert words(mx, nn, names) == words(oracle.core, oracle.nn, names)
    wrong_shape = words(mx, nn, ["weight", "bias"])
    assert wrong_shape.removesuffix(".") == words(oracle.core, oracle.nn, ["weight", "bias"])


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_weights_travel_both_ways(oracle, tmp_path, suffix):
    def model(nn):
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4), {"embedding": nn.Embedding(5, 2)})

    ours, theirs = model(nn), model(oracle.nn)
    path = str(tmp_path / f"ours.{suffix}")
    ours.save_weights(path)
    theirs.load_weights(path)
    oracle.same(ours.parameters(), theirs.parameters(), rtol=0, atol=0)
    path = str(tmp_path / f"theirs.{suffix}")
    model(oracle.nn).save_weights(path)
    theirs.load_weights(path)
    assert ours.load_weights(path) is ours
    oracle.same(ours.parameters(), theirs.parameters(), rtol=0, atol=0)
    ours.save_weights(tmp_path / f"path.{suffix}")
    model(nn).load_weights(tmp_path / f"path.{suffix}")


def test_files_that_do_not_fit(tmp_path):
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="npz"):
        layer.save_weights(str(tmp_path / "weights.txt"))
    with pytest.raises(ValueError, match="txt"):
        layer.load_weights(str(tmp_path / "weights.txt"))
    layer.save_weights(str(tmp_path / "weights.npz"))
    with pytest.raises(ValueError, match="bias, weight"):
        nn.Sequential({"embedding": nn.Embedding(2, 2)}).load_weights(str(tmp_path / "weights.npz"))


def test_value_and_grad(oracle):
    ours = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    theirs = oracle.nn.Sequential(oracle.nn.Linear(3, 4), oracle.nn.Tanh(), oracle.nn.Linear(4, 1))
    oracle.copy_weights(ours, theirs)
    x = mx.array(np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3))

    def run(nn, model, x):
        def loss(x, scale=1.0):
            y = model(x)
            return scale * (y * y).sum(), y

        function = nn.value_and_grad(model, loss)
        assert function.__name__ == "loss"
        return function(x, scale=3.0)

    before = tree_flatten(ours.parameters(), destination={})
    oracle.same(run(nn, ours, x), run(oracle.nn, theirs, oracle.give(x)))
    for name, value in tree_flatten(ours.parameters()):
        np.testing.assert_array_equal(np.array(value), np.array(before[name]))
    for model in (ours, theirs):
        model.layers[0].freeze()
    result = run(nn, ours, x)
    oracle.same(result, run(oracle.nn, theirs, oracle.give(x)))
    assert "weight" not in result[1]["layers"][0]
    ours.freeze()
    with pytest.raises(ValueError, match="grad"):
        run(nn, ours, x)


def test_value_and_grad_keeps_running_statistics(oracle):
    ours, theirs = nn.BatchNorm(2), oracle.nn.BatchNorm(2)
    x = mx.array([[1.0, 2.0], [3.0, 7.0], [0.0, 1.0]])
    for step in range(2):
        oracle.same(
            nn.value_and_grad(ours, lambda x: (ours(x) ** 3).sum())(x + step),
            oracle.nn.value_and_grad(theirs, lambda x: (theirs(x) ** 3).sum())(oracle.give(x + step)),
            atol=1e-4,
        )
    oracle.same(ours.state, theirs.state)


def test_checkpoint(oracle):
    ours, theirs = nn.Linear(2, 3), oracle.nn.Linear(2, 3)
    oracle.copy_weights(ours, theirs)
    x = mx.array([[1.0, -2.0]])

    def run(nn, model, x):
        def loss(x):
            inner = nn.utils.checkpoint(model, lambda x, power=1: model(x) ** power)
            return (inner(x, power=2) + nn.utils.checkpoint(model)(x)).sum()

        return nn.value_and_grad(model, loss)(x)

    oracle.same(run(nn, ours, x), run(oracle.nn, theirs, oracle.give(x)))


def test_average_gradients_of_one_process():
    gradients = {"a": mx.ones((2,)), "b": [mx.zeros((1,))]}
    assert nn.average_gradients(gradients) is gradients


def test_message_sizes():
    items = [("a", mx.zeros((2,))), ("b", mx.zeros((2,))), ("c", mx.zeros((2,), mx.int32)), ("d", mx.zeros((9,)))]
    messages = nn.utils._messages(items, 12)
    assert [[name for name, _ in message] for message in messages] == [["a", "b"], ["c"], ["d"]]


def test_what_the_function_assigns_stays(oracle):
    """Unless it raises: then the parameters are as they were before, which MLX leaves as they are."""

    def run(mx, nn):
        class Counting(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = mx.array([2.0])
                self.count = mx.array(0.0)

            def __call__(self, x):
                self.count = self.count + 1
                return (self.weight * x).sum()

        model = Counting()
        result = nn.value_and_grad(model, lambda x: model(x))(mx.array([3.0]))
        count = model.count

        def broken(x):
            model(x)
            raise KeyError("x")

        with pytest.raises(KeyError):
            nn.value_and_grad(model, broken)(mx.array([3.0]))
        return (result, model.weight, count), model.count

    (ours, after), (theirs, _) = run(mx, nn), run(oracle.core, oracle.nn)
    oracle.same(ours, theirs)
    assert after.item() == 1
