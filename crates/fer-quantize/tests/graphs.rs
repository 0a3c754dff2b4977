//! Graphs in and out: what is folded, which form quantized files have, and which models are
//! refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use fer_core::onnx::proto::{
    AttributeProto, AttributeType, GraphProto, Message, ModelProto, NodeProto, TensorProto,
    ValueInfoProto,
};
use fer_quantize::{FloatNetwork, LEVELS, Params, Plan, QuantizeError, nearest};
use proptest::prelude::*;

fn weight(name: &str, dims: &[i64]) -> TensorProto {
    let size: i64 = dims.iter().product();
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: 1,
        float_data: (0..size)
            .map(|i| ((i * 37 % 19) - 9) as f32 / 10.0)
            .collect(),
        ..Default::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        type_: AttributeType::INTS.into(),
        ints: values.to_vec(),
        ..Default::default()
    }
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: format!("{output}_node"),
        input: inputs.iter().map(|i| i.to_string()).collect(),
        output: vec![output.into()],
        attribute: attributes,
        ..Default::default()
    }
}

fn port(name: &str) -> ValueInfoProto {
    ValueInfoProto {
        name: name.into(),
        ..Default::default()
    }
}

fn model(nodes: Vec<NodeProto>, weights: Vec<TensorProto>, output: &str) -> ModelProto {
    let mut model = ModelProto {
        ir_version: 8,
        ..Default::default()
    };
    model.opset_import.push(Default::default());
    model.opset_import[0].version = 18;
    let graph = model.graph.mut_or_insert_default();
    graph.node = nodes;
    graph.initializer = weights;
    graph.input = vec![port("x")];
    graph.output = vec![port(output)];
    model
}

/// A convolution with batch normalization, pooled before its ReLU, another with a bias, whose mean
/// goes to a dense layer: what `fer train` exports.
fn vgg() -> ModelProto {
    let pads = || vec![ints("pads", &[1, 1, 1, 1])];
    let nodes = vec![
        node("Conv", &["x", "w1"], "c1", pads()),
        node(
            "BatchNormalization",
            &["c1", "gamma", "beta", "mean", "variance"],
            "n1",
            vec![],
        ),
        node(
            "MaxPool",
            &["n1"],
            "p1",
            vec![ints("kernel_shape", &[2, 2])],
        ),
        node("Relu", &["p1"], "r1", vec![]),
        node("Conv", &["r1", "w2", "b2"], "c2", pads()),
        node("Relu", &["c2"], "r2", vec![]),
        node("GlobalAveragePool", &["r2"], "g", vec![]),
        node("Flatten", &["g"], "f", vec![]),
        node("MatMul", &["f", "w3"], "m", vec![]),
        node("Add", &["m", "b3"], "s", vec![]),
        node("Softmax", &["s"], "y", vec![]),
    ];
    let mut variance = weight("variance", &[4]);
    variance.float_data = vec![0.5, 1.0, 2.0, 4.0];
    let weights = vec![
        weight("w1", &[4, 1, 3, 3]),
        weight("gamma", &[4]),
        weight("beta", &[4]),
        weight("mean", &[4]),
        variance,
        weight("w2", &[6, 4, 3, 3]),
        weight("b2", &[6]),
        weight("w3", &[6, 3]),
        weight("b3", &[3]),
    ];
    model(nodes, weights, "y")
}

fn bytes(model: &ModelProto) -> Bytes {
    model.write_to_bytes().unwrap().into()
}

fn parse(model: &ModelProto) -> Result<FloatNetwork, QuantizeError> {
    FloatNetwork::parse(&bytes(model), "m.onnx")
}

/// Every layer but the last with its nearest weights, activations of 0..1.
fn plan(network: &FloatNetwork) -> Plan {
    let layers = network.layers.iter();
    Plan {
        params: vec![Params::of([0.0, 1.0]); network.groups().len()],
        layers: layers
            .map(|layer| (!layer.is_last).then(|| nearest(layer)))
            .collect(),
    }
}

fn graph(bytes: &Bytes) -> GraphProto {
    let mut model = ModelProto::parse_from_tokio_bytes(bytes).unwrap();
    std::mem::take(model.graph.mut_or_insert_default())
}

fn operators(graph: &GraphProto) -> Vec<&str> {
    graph.node.iter().map(|n| n.op_type.as_str()).collect()
}

#[test]
fn layers_are_found_behind_what_is_folded() {
    let network = parse(&vgg()).unwrap();
    let found: Vec<_> = network
        .layers
        .iter()
        .map(|l| {
            (
                l.input.as_str(),
                l.output.as_str(),
                l.channels,
                l.depth,
                l.is_last,
            )
        })
        .collect();
    // The pooling comes after the ReLU now, under its name.
    assert_eq!(
        found,
        [
            ("x", "p1", 4, 9, false),
            ("r1", "r2", 6, 36, false),
            ("f", "s", 3, 6, true)
        ]
    );
    // w · γ / √(σ² + ε), and β − μ · γ / √(σ² + ε).
    let (factor, first) = (-0.9 / (0.5f32 + 1e-5).sqrt(), &network.layers[0]);
    assert!((first.weights[0] - -0.9 * factor).abs() < 1e-5);
    assert!((first.bias[0] - (-0.9 - -0.9 * factor)).abs() < 1e-5);
    let folded = graph(&network.with_outputs(&["y"]).unwrap());
    assert_eq!(
        operators(&folded),
        [
            "Conv",
            "Relu",
            "MaxPool",
            "Conv",
            "Relu",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
            "Softmax"
        ]
    );
}

#[test]
fn tensors_that_pass_values_on_have_one_range() {
    let network = parse(&vgg()).unwrap();
    let groups: Vec<_> = network
        .groups()
        .into_iter()
        .map(|group| (group.tensors.join(" "), group.is_input))
        .collect();
    let expected = [("x", true), ("p1 r1", false), ("r2", false)];
    assert_eq!(
        groups,
        expected.map(|(names, input)| (names.to_string(), input))
    );
}

#[test]
fn files_have_the_form_that_runs_in_integers() {
    let network = parse(&vgg()).unwrap();
    let metadata = BTreeMap::from([("fer.labels".to_string(), "[\"a\"]".to_string())]);
    let file = network.quantized(&plan(&network), &metadata).unwrap();
    let found = graph(&file);
    let (q, dq) = ("QuantizeLinear", "DequantizeLinear");
    assert_eq!(
        operators(&found),
        [
            q,
            dq,
            dq,
            dq,
            "Conv",
            q,
            dq,
            "MaxPool",
            q,
            dq,
            dq,
            dq,
            "Conv",
            q,
            dq,
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
            "Softmax"
        ]
    );
    let by_name: HashMap<&str, &TensorProto> = found
        .initializer
        .iter()
        .map(|t| (t.name.as_str(), t))
        .collect();
    let maker = |name: &str| found.node.iter().find(|n| n.output[0] == name).unwrap();
    for conv in found.node.iter().filter(|n| n.op_type == "Conv") {
        let [x, w, b] = [0, 1, 2].map(|i| maker(&conv.input[i]));
        let [x_scale, w_scale, b_scale] = [x, w, b].map(|n| by_name[n.input[1].as_str()]);
        let floats = |t: &TensorProto| -> Vec<f32> {
            let bytes = t.raw_data.chunks_exact(4);
            bytes
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect()
        };
        let (x_scale, w_scale) = (floats(x_scale)[0], floats(w_scale));
        let product: Vec<f32> = w_scale.iter().map(|w| w * x_scale).collect();
        assert_eq!(floats(b_scale), product);
        let (weights, bias) = (by_name[w.input[0].as_str()], by_name[b.input[0].as_str()]);
        assert_eq!((weights.data_type, bias.data_type), (3, 6));
        assert_eq!(weights.dims[0] as usize, w_scale.len());
        let levels = weights.raw_data.iter().map(|b| *b as i8);
        let levels: Vec<i8> = levels.collect();
        assert!(levels.iter().all(|q| (-LEVELS..=LEVELS).contains(q)));
        assert_eq!(levels.iter().map(|q| q.abs()).max(), Some(LEVELS));
        for zeros in [w, b].map(|n| by_name[n.input[2].as_str()]) {
            assert!(zeros.raw_data.iter().all(|b| *b == 0));
        }
    }
    // The pooling's input and output share scale and zero point.
    let pool = found.node.iter().find(|n| n.op_type == "MaxPool").unwrap();
    let behind = found
        .node
        .iter()
        .find(|n| n.input[0] == pool.output[0])
        .unwrap();
    assert_eq!(behind.input[1..], maker(&pool.input[0]).input[1..]);
    let model = ModelProto::parse_from_tokio_bytes(&file).unwrap();
    assert_eq!(model.metadata_props.len(), 1);
    assert_eq!(model.metadata_props[0].value, "[\"a\"]");
}

#[test]
fn layers_of_a_plan_may_stay_in_float() {
    let network = parse(&vgg()).unwrap();
    let mut plan = plan(&network);
    plan.layers[0] = None;
    let found = graph(&network.quantized(&plan, &BTreeMap::new()).unwrap());
    let (q, dq) = ("QuantizeLinear", "DequantizeLinear");
    // Of the pooling's output, the second convolution's input, there is one form, and of what the
    // pooling takes, too.
    assert_eq!(
        operators(&found)[..8],
        ["Conv", q, dq, "MaxPool", q, dq, dq, dq]
    );
    // A ReLU whose tensor can be negative stays.
    let mut signed = plan;
    signed.params[1] = Params::of([-1.0, 1.0]);
    let found = graph(&network.quantized(&signed, &BTreeMap::new()).unwrap());
    assert_eq!(operators(&found)[..3], ["Conv", "Relu", q]);
}

/// Between bytes on both sides, ONNX Runtime quantizes weights whose layer has no bias or a stored
/// one.
#[test]
fn a_layer_that_stays_in_float_has_a_bias_that_a_node_makes() {
    let nodes = vec![
        node("Conv", &["x", "w1"], "c1", vec![]),
        node("Conv", &["c1", "w2", "b2"], "c2", vec![]),
        node("Relu", &["c2"], "r2", vec![]),
        node("Conv", &["r2", "w3"], "c3", vec![]),
        node("Conv", &["c3", "w4"], "c4", vec![]),
        node("Conv", &["c4", "w5"], "c5", vec![]),
        node("Conv", &["c5", "w6"], "y", vec![]),
    ];
    let mut weights = ["w1", "w2", "w3", "w4", "w5", "w6"]
        .map(|name| weight(name, &[2, 2, 1, 1]))
        .to_vec();
    let mut bias = weight("b2", &[2]);
    bias.float_data = vec![-0.123_456_78, 1e-40];
    weights.push(bias);
    let network = parse(&model(nodes, weights, "y")).unwrap();
    let mut plan = plan(&network);
    (plan.layers[1], plan.layers[3]) = (None, None);
    let file = network.quantized(&plan, &BTreeMap::new()).unwrap();
    let found = graph(&file);
    let stored = |name: &String| found.initializer.iter().find(|t| t.name == *name);
    let mut biases = Vec::new();
    for weights in ["w2", "w4"] {
        let conv = found
            .node
            .iter()
            .find(|n| n.input.get(1).is_some_and(|i| i == weights));
        let made = found
            .node
            .iter()
            .find(|n| n.output[0] == conv.unwrap().input[2])
            .unwrap();
        assert_eq!(made.op_type, "DequantizeLinear");
        let [whole, scale] = [0, 1].map(|i| stored(&made.input[i]).unwrap().raw_data.clone());
        biases.extend(whole.chunks(4).zip(scale.chunks(4)).map(|(n, scale)| {
            i32::from_le_bytes(n.try_into().unwrap()) as f32
                * f32::from_le_bytes(scale.try_into().unwrap())
        }));
    }
    assert_eq!(biases, [-0.123_456_78, 0.0, 0.0, 0.0]);
}

#[test]
fn what_only_looks_like_a_constant_stays_whole() {
    let mut value = ints("value", &[]);
    value.t = Some(weight("one", &[1])).into();
    let mut changed = vgg();
    let graph_of = changed.graph.mut_or_insert_default();
    graph_of
        .node
        .insert(0, node("ConstantOfShape", &["shape"], "zeros", vec![value]));
    graph_of.node[1].input[0] = "moved".into();
    graph_of
        .node
        .insert(1, node("Add", &["x", "zeros"], "moved", vec![]));
    graph_of.initializer.push(weight("shape", &[4]));
    let network = parse(&changed).unwrap();
    let found = graph(&network.with_outputs(&["y"]).unwrap());
    let filled = found.node.iter().find(|n| n.op_type == "ConstantOfShape");
    assert!(filled.unwrap().attribute[0].t.is_some());
}

#[test]
fn convolutions_of_absurd_steps_stay_as_they_are() {
    for (name, values) in [
        ("pads", &[i64::MAX, 0, 0, 0][..]),
        ("dilations", &[i64::MAX, i64::MAX]),
        ("strides", &[1 << 40, 1]),
    ] {
        let mut changed = vgg();
        changed.graph.mut_or_insert_default().node[4].attribute = vec![ints(name, values)];
        let layers = parse(&changed).unwrap().layers;
        assert!(layers.iter().all(|layer| layer.output != "r2"), "{name}");
    }
}

#[test]
fn the_second_input_of_an_addition_is_quantized_too() {
    let nodes = vec![
        node("Conv", &["x", "w1"], "c1", vec![]),
        node("Relu", &["c1"], "r1", vec![]),
        node("Conv", &["r1", "w2"], "c2", vec![]),
        node("Add", &["c2", "r1"], "a", vec![]),
        node("Relu", &["a"], "r2", vec![]),
        node("Conv", &["r2", "w3"], "c3", vec![]),
        node("Relu", &["c3"], "r3", vec![]),
        node("Conv", &["r3", "w4"], "y", vec![]),
    ];
    let weights = ["w1", "w2", "w3", "w4"].map(|name| weight(name, &[2, 2, 1, 1]));
    let network = parse(&model(nodes, weights.to_vec(), "y")).unwrap();
    let found = graph(
        &network
            .quantized(&plan(&network), &BTreeMap::new())
            .unwrap(),
    );
    let add = found.node.iter().find(|n| n.op_type == "Add").unwrap();
    for input in &add.input {
        let maker = found.node.iter().find(|n| n.output[0] == *input).unwrap();
        assert_eq!(maker.op_type, "DequantizeLinear", "{input}");
    }
    assert!(!operators(&found).contains(&"Relu"));
}

#[test]
fn a_large_bias_gets_a_scale_that_holds_it() {
    let mut model = vgg();
    let graph_of = model.graph.mut_or_insert_default();
    let small = graph_of
        .initializer
        .iter_mut()
        .find(|t| t.name == "w2")
        .unwrap();
    small.float_data.iter_mut().for_each(|w| *w *= 1e-12);
    let network = parse(&model).unwrap();
    let found = graph(
        &network
            .quantized(&plan(&network), &BTreeMap::new())
            .unwrap(),
    );
    let bias = found
        .initializer
        .iter()
        .find(|t| t.name == "w2_bias_quantized")
        .unwrap();
    let scale = found
        .initializer
        .iter()
        .find(|t| t.name == "w2_bias_scale")
        .unwrap();
    for (channel, expected) in network.layers[1].bias.iter().enumerate() {
        let at = |raw: &[u8]| -> [u8; 4] { raw[channel * 4..channel * 4 + 4].try_into().unwrap() };
        let value =
            i32::from_le_bytes(at(&bias.raw_data)) as f32 * f32::from_le_bytes(at(&scale.raw_data));
        assert!((value - expected).abs() < 1e-4, "{value} {expected}");
    }
}

#[test]
fn models_that_cannot_be_quantized_are_refused() {
    type Change = fn(&mut ModelProto);
    let rows: [(&str, Change); 9] = [
        ("quantized already", |m| {
            let nodes = &mut m.graph.mut_or_insert_default().node;
            nodes.insert(0, node("QuantizeLinear", &["x", "b3", "b3"], "q", vec![]));
        }),
        ("operator set 11", |m| m.opset_import[0].version = 11),
        ("no layer to quantize", |m| {
            let graph = m.graph.mut_or_insert_default();
            graph.node = vec![node("Relu", &["x"], "y", vec![])];
        }),
        // One dense layer, which is the last.
        ("no layer to quantize", |m| {
            let graph = m.graph.mut_or_insert_default();
            graph.node = vec![
                node("Flatten", &["x"], "f", vec![]),
                node("MatMul", &["f", "w3"], "y", vec![]),
            ];
        }),
        ("weights of float16", |m| {
            let graph = m.graph.mut_or_insert_default();
            for tensor in &mut graph.initializer {
                let size = tensor.float_data.len();
                tensor.float_data.clear();
                tensor.data_type = 10;
                tensor.raw_data = vec![0; 2 * size].into();
            }
        }),
        ("runs a graph of its own", |m| {
            let mut branch = ints("then_branch", &[]);
            branch.g = Some(GraphProto::default()).into();
            let nodes = &mut m.graph.mut_or_insert_default().node;
            nodes.insert(0, node("If", &["x"], "z", vec![branch]));
        }),
        ("weights in other files", |m| {
            let graph = m.graph.mut_or_insert_default();
            graph.initializer[0].external_data.push(Default::default());
        }),
        ("are not finite", |m| {
            let graph = m.graph.mut_or_insert_default();
            graph.initializer[5].float_data[3] = f32::NAN;
        }),
        ("nothing makes lost", |m| {
            m.graph.mut_or_insert_default().node[4].input[0] = "lost".into();
        }),
    ];
    let mut wrong = Vec::new();
    for (expected, change) in rows {
        let mut model = vgg();
        change(&mut model);
        match parse(&model) {
            Err(e) if e.to_string().contains(expected) => {}
            Err(e) => wrong.push(format!("{expected}: {e}")),
            Ok(_) => wrong.push(format!("{expected}: it was taken")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let garbage = FloatNetwork::parse(&Bytes::from_static(b"\x08\x08nonsense"), "m");
    assert!(matches!(garbage, Err(QuantizeError::Onnx(_))));
}

proptest! {
    /// Whatever a damaged file holds, it is refused or written, without a panic.
    #[test]
    fn damaged_files_do_no_harm(places in prop::collection::vec((0usize..4000, any::<u8>()), 1..12)) {
        let mut file = vgg().write_to_bytes().unwrap();
        for (place, byte) in places {
            let at = place % file.len();
            file[at] = byte;
        }
        if let Ok(network) = FloatNetwork::parse(&file.into(), "m") {
            let plan = plan(&network);
            prop_assert!(network.quantized(&plan, &BTreeMap::new()).is_ok());
        }
    }
}
