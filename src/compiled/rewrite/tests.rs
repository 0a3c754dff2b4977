//! Tests of the rewritten code, and of the errors.

use super::*;

/// A module whose forward pass has these statements.
fn module(statements: &str) -> String {
    configured("", "[2, 2]", statements)
}

/// A module whose first convolution has these additional settings, and whose pooling has this
/// window.
fn configured(convolution: &str, window: &str, statements: &str) -> String {
    let fields = [
        ("conv1", "Conv2d"),
        ("conv3", "Conv2d"),
        ("norm1", "BatchNorm"),
        ("norm2", "BatchNorm"),
        ("pool1", "MaxPool2d"),
        ("linear1", "Linear"),
        ("lstm1", "burn::nn::Lstm"),
    ];
    // Layers without statements would count as forgotten.
    let fields: String = fields
        .iter()
        .filter(|(name, _)| statements.contains(name))
        .map(|(name, kind)| format!("{name}: {kind},\n"))
        .collect();
    format!(
        "pub struct Model {{
            {fields}
            #[module(skip)]
            device: Device,
        }}
        impl Model {{
            pub fn new(device: &Device) -> Self {{
                let conv1 = Conv2dConfig::new([1, 8], [3, 3])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)){convolution}
                    .init(device);
                let conv3 = Conv2dConfig::new([8, 8], [3, 3]).with_groups(1).init(device);
                let pool1 = MaxPool2dConfig::new({window}).with_strides({window})
                    .with_padding(PaddingConfig2d::Valid).with_ceil_mode(false).init();
                unreachable!()
            }}
            pub fn forward(&self, input: Tensor<4>) -> Tensor<2> {{
                {statements}
            }}
        }}"
    )
}

/// The statements of a forward pass, rewritten, without layout.
fn forward(statements: &str) -> Result<String, String> {
    let code = plain(&rewrite(&module(statements))?.code);
    let (_, statements) = code.split_once("->Tensor<2>{").expect("a forward pass");
    Ok(statements.strip_suffix("}}").expect("its end").into())
}

/// Code without layout.
fn plain(code: &str) -> String {
    let words: String = code.split_whitespace().collect();
    words.replace(",)", ")").replace(",]", "]")
}

#[test]
fn a_layer_and_what_alone_follows_it_are_one_call() {
    let rows = [
        (
            "let a = self.conv1.forward(input); let b = burn::tensor::activation::relu(a);",
            "let b = compiled.conv2d(&self.conv1, None, input, true);",
        ),
        (
            "let a = self.conv1.forward(input);
             let b = self.norm1.forward(a);
             let c = burn::tensor::activation::relu(b);",
            "let c = compiled.conv2d(&self.conv1, Some(&self.norm1), input, true);",
        ),
        (
            "let a = self.norm1.forward(input); let b = self.pool1.forward(a);",
            "let b = KERNELS::compiled::batch_norm_max_pool2d(&self.norm1, &self.pool1, \
             input);",
        ),
        (
            "let a = self.norm1.forward(input); let b = self.norm2.forward(a);",
            "let a = KERNELS::compiled::batch_norm(&self.norm1, input, false); \
             let b = KERNELS::compiled::batch_norm(&self.norm2, a, false);",
        ),
        (
            "let a = self.pool1.forward(input.clone());",
            "let a = KERNELS::nn::max_pool2d(&self.pool1, input.clone());",
        ),
        // The convolution's output is used elsewhere too.
        (
            "let a = self.conv1.forward(input);
             let b = burn::tensor::activation::relu(a.clone());
             let c = a.add(b);",
            "let a = compiled.conv2d(&self.conv1, None, input, false); \
             let b = burn::tensor::activation::relu(a.clone()); let c = a.add(b);",
        ),
        (
            "let c = a.add(b); let d = burn::tensor::activation::relu(c);",
            "let d = KERNELS::compiled::add_relu(a, b);",
        ),
        // In a macro, too, it is a use.
        (
            "let a = self.conv1.forward(input);
             let b = burn::tensor::activation::relu(a);
             let c = d.slice(s![0..a.dims()[0]]);",
            "let a = compiled.conv2d(&self.conv1, None, input, false); \
             let b = burn::tensor::activation::relu(a); let c = d.slice(s![0..a.dims()[0]]);",
        ),
        // Another layout.
        (
            "let a
               = self
                   .conv1
                   .forward(
                       input
                   );
             let b = self.norm1 . forward ( a , ) ; let c =
                burn :: tensor :: activation
                  :: relu(b)
             ;",
            "let c = compiled.conv2d(&self.conv1, Some(&self.norm1), input, true);",
        ),
        // A convolution that is used twice has one form of its kernels.
        (
            "let a = self.conv1.forward(input);
             let b = self.norm1.forward(a);
             let c = self.conv1.forward(b);
             let d = burn::tensor::activation::relu(c);",
            "let a = compiled.conv2d(&self.conv1, None, input, false); \
             let b = KERNELS::compiled::batch_norm(&self.norm1, a, false); \
             let c = compiled.conv2d(&self.conv1, None, b, false); \
             let d = burn::tensor::activation::relu(c);",
        ),
        (
            "let a = self.linear1.forward(input); a",
            "let a = self.linear1.forward(input); a",
        ),
    ];
    let failed: Vec<_> = rows
        .iter()
        .map(|(given, wanted)| (forward(given), plain(&wanted.replace("KERNELS", KERNELS))))
        .filter(|(found, wanted)| found.as_ref() != Ok(wanted))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_supported_layer_in_an_unknown_form_is_an_error() {
    let rows = [
        (
            "let a = { let b = self.conv1.forward(input); b.mul(b) };",
            "layer conv1 (Conv2d) is left to Burn, in a statement of a form that is not known: \
             `let a = { let b = self.conv1.forward(input); b.mul(b) };`",
        ),
        (
            "let [a, b] = self.pool1.forward_with_indices(input);",
            "layer pool1 (MaxPool2d) is left to Burn, in a statement of a form that is not known: \
             `let [a, b] = self.pool1.forward_with_indices(input);`",
        ),
        (
            "let mut a = self.norm1.forward(input);",
            "layer norm1 (BatchNorm) is left to Burn, in a statement of a form that is not known: \
             `let mut a = self.norm1.forward(input);`",
        ),
        // Within a call that is replaced.
        (
            "let a = self.conv1.forward(self.conv3.forward(input));",
            "layer conv3 (Conv2d) is left to Burn, in a statement of a form that is not known: \
             `let a = self.conv1.forward(self.conv3.forward(input));`",
        ),
        (
            "let a = b.add(self.norm1.forward(input)); let c = burn::tensor::activation::relu(a);",
            "layer norm1 (BatchNorm) is left to Burn, in a statement of a form that is not known: \
             `let a = b.add(self.norm1.forward(input));`",
        ),
        (
            "self.conv1.forward(input)",
            "layer conv1 (Conv2d) is left to Burn, in a statement of a form that is not known: \
             `self.conv1.forward(input)`",
        ),
        // Behind another name.
        (
            "let model = self; let a = model.conv1.forward(input);",
            "layer conv1 (Conv2d) is in no statement of a known form",
        ),
    ];
    let failed: Vec<_> = rows
        .iter()
        .map(|(given, wanted)| (forward(given), *wanted))
        .filter(|(found, wanted)| found.as_ref() != Err(&wanted.to_string()))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn what_the_kernels_lack_is_named() {
    let generic = |code: String| {
        rewrite(&code)
            .map(|r| r.generic)
            .unwrap_or_else(|e| vec![e])
    };
    let plain = "let a = self.conv1.forward(input); let b = self.pool1.forward(a);
                 let c = self.linear1.forward(b);
                 let d = burn::tensor::activation::softmax(c, 1);";
    let none: [&str; 0] = [];
    assert_eq!(generic(module(plain)), none);
    for (settings, wanted) in [
        (".with_groups(4)", "Conv2d in groups (conv1)"),
        (".with_dilation([2, 2])", "Conv2d with dilation (conv1)"),
        (
            ".with_padding(PaddingConfig2d::Same)",
            "Conv2d with padding Same (conv1)",
        ),
    ] {
        let found = generic(configured(settings, "[2, 2]", plain));
        assert_eq!(found, [wanted], "{settings}");
    }
    assert_eq!(
        generic(configured("", "[3, 3]", plain)),
        ["MaxPool2d of other windows than 2x2 (pool1)"]
    );
    // Such a layer may be used in any form.
    let trimmed = "let a = { let b = self.pool1.forward(input); b.slice(s![.., .., 0..3]) };";
    assert_eq!(
        generic(configured("", "[3, 3]", trimmed)),
        ["MaxPool2d of other windows than 2x2 (pool1)"]
    );
    let others = "let a = burn::tensor::activation::elu(input, 1.0);
                  let b = burn::tensor::activation::elu(a, 0.5);
                  let c = b.tanh();
                  let d = burn::nn::PixelShuffleConfig::new(2).init().forward(c);
                  let (e, _) = self.lstm1.forward(d, None);
                  burn::tensor::module::conv2d(e, f, None, g)";
    assert_eq!(
        generic(module(others)),
        [
            "elu (a, b)",
            "tanh (c)",
            "PixelShuffle (d)",
            "Lstm (lstm1)",
            "conv2d (the output)"
        ]
    );
}

#[test]
fn an_input_may_have_any_name() {
    let code = "struct Model { device: Device }
        impl Model { pub fn forward(&self, images: Tensor<4>) -> Tensor<2> { images } }";
    let code = rewrite(code).unwrap().code;
    let wanted = format!("compiled: &{KERNELS}::compiled::Compiled, images: Tensor<4>");
    assert!(plain(&code).contains(&plain(&wanted)), "{code}");
}

#[test]
fn code_of_another_form_is_refused() {
    let forward = "fn forward(&self, x: Tensor<4>) -> Tensor<4> { self.conv1.forward(x) }";
    for (code, wanted) in [
        ("fn main() {}".into(), "0 forward passes"),
        ("fn main( {}".into(), "not Rust"),
        (
            format!("impl A {{ {forward} }} impl B {{ {forward} }}"),
            "2 forward passes",
        ),
        (format!("impl Model {{ {forward} }}"), "no struct Model"),
        (
            "struct Model { d: D } impl Model { fn forward() {} }".into(),
            "without self",
        ),
        (
            format!("struct Model {{ conv1: Conv2d }} impl Model {{ {forward} }}"),
            "does not show how layer conv1 (Conv2d) is configured",
        ),
    ] {
        let error = rewrite(&code).err().unwrap_or_default();
        assert!(error.contains(wanted), "{code}: {error}");
    }
}

/// The statements of a forward pass of a network of small convolutions, rewritten, without layout.
fn chained(statements: &str) -> Result<String, String> {
    let one = "[1, 1]).with_padding(PaddingConfig2d::Valid)";
    let three = "[3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).with_groups(16)";
    let double = "burn::nn::interpolate::Interpolate2dConfig::new().with_output_size(None)
        .with_mode(burn::nn::interpolate::InterpolateMode::Nearest)";
    let layers = [
        (
            "first",
            "Conv2d",
            "Conv2dConfig::new([3, 16], [3, 3]).with_stride([2, 2])
             .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))"
                .into(),
        ),
        (
            "point1",
            "Conv2d",
            format!("Conv2dConfig::new([16, 16], {one}"),
        ),
        (
            "depth1",
            "Conv2d",
            format!("Conv2dConfig::new([16, 16], {three}"),
        ),
        (
            "point2",
            "Conv2d",
            format!("Conv2dConfig::new([16, 16], {one}"),
        ),
        (
            "depth2",
            "Conv2d",
            format!("Conv2dConfig::new([16, 16], {three}"),
        ),
        (
            "odd",
            "Conv2d",
            format!("Conv2dConfig::new([16, 20], {one}"),
        ),
        (
            "strided",
            "Conv2d",
            format!("Conv2dConfig::new([16, 16], {three}.with_stride([2, 2])"),
        ),
        (
            "pool",
            "MaxPool2d",
            "MaxPool2dConfig::new([2, 2]).with_strides([2, 2])".into(),
        ),
        (
            "double",
            "burn::nn::interpolate::Interpolate2d",
            format!(
                "{double}.with_scale_factor(Some([2.0, 2.0])).with_align_corners(false).init()"
            ),
        ),
        (
            "triple",
            "burn::nn::interpolate::Interpolate2d",
            format!(
                "{double}.with_scale_factor(Some([3.0, 3.0])).with_align_corners(false).init()"
            ),
        ),
    ];
    let used = || {
        let word = |name: &str| statements.contains(&format!("self.{name}."));
        layers.iter().filter(move |(name, ..)| word(name))
    };
    let fields: String = used()
        .map(|(name, kind, _)| format!("{name}: {kind},"))
        .collect();
    let made: String = used()
        .map(|(name, _, made)| format!("let {name} = {made};"))
        .collect();
    let code = format!(
        "pub struct Model {{ {fields} }}
        impl Model {{
            pub fn new(device: &Device) -> Self {{ {made} unreachable!() }}
            pub fn forward(&self, input: Tensor<4>) -> Tensor<2> {{ {statements} }}
        }}"
    );
    let rewritten = rewrite(&code)?;
    let code = plain(&rewritten.code);
    let (_, statements) = code.split_once("->Tensor<2>{").expect("a forward pass");
    let statements = statements.strip_suffix("}}").expect("its end");
    Ok(format!("{statements}{}", rewritten.generic.concat()))
}

#[test]
fn small_convolutions_that_follow_one_another_are_one_call() {
    let relu = "burn::tensor::activation::relu";
    let rows = [
        (
            "let a = self.first.forward(input); let b = RELU(a);
             let c = self.point1.forward(b); let d = self.depth1.forward(c); let e = RELU(d);
             let f = self.pool.forward(e);
             let g = self.point2.forward(f); let h = self.depth2.forward(g); h",
            "let h = compiled.chain(KERNELS::compiled::Input::Planes(&self.first, input), \
             &[(&self.point1, &self.depth1, true, Some(&self.pool)), \
             (&self.point2, &self.depth2, false, None)]); h",
        ),
        // What is used elsewhere too ends a chain.
        (
            "let c = self.point1.forward(input); let d = self.depth1.forward(c);
             let e = RELU(d); let f = self.pool.forward(e.clone());
             let g = self.point2.forward(f); let h = self.depth2.forward(g); e.add(h)",
            "let e = compiled.chain(KERNELS::compiled::Input::Image(input), \
             &[(&self.point1, &self.depth1, true, None)]); \
             let h = compiled.chain(KERNELS::compiled::Input::Pool(&self.pool, e.clone()), \
             &[(&self.point2, &self.depth2, false, None)]); e.add(h)",
        ),
        (
            "let a = self.double.forward(x.clone()); let b = y.add(a);
             let c = self.point1.forward(b); let d = self.depth1.forward(c); d",
            "let d = compiled.chain(KERNELS::compiled::Input::Sum(y, &self.double, x.clone()), \
             &[(&self.point1, &self.depth1, false, None)]); d",
        ),
        // A convolution of one pixel alone does not make a link.
        (
            "let c = self.point1.forward(input); let d = self.depth1.forward(c);
             let e = self.point2.forward(d); e",
            "let d = compiled.chain(KERNELS::compiled::Input::Image(input), \
             &[(&self.point1, &self.depth1, false, None)]); \
             let e = compiled.conv2d(&self.point2, None, d, false); e",
        ),
        (
            "let c = self.point1.forward(input); let d = self.depth1.forward(c.clone());
             c.add(d)",
            "let c = compiled.conv2d(&self.point1, None, input, false); \
             let d = compiled.conv2d(&self.depth1, None, c.clone(), false); c.add(d)",
        ),
        // Other channels, strides, poolings and sizes have no place in a chain.
        (
            "let c = self.odd.forward(input); let d = self.depth1.forward(c);
             let e = self.point1.forward(d); let f = self.strided.forward(e); f",
            "let c = compiled.conv2d(&self.odd, None, input, false); \
             let d = compiled.conv2d(&self.depth1, None, c, false); \
             let e = compiled.conv2d(&self.point1, None, d, false); \
             let f = compiled.conv2d(&self.strided, None, e, false); f",
        ),
        (
            "let a = self.triple.forward(x); let b = y.add(a);
             let c = self.point1.forward(b); let d = self.depth1.forward(c); d",
            "let a = self.triple.forward(x); let b = y.add(a); \
             let d = compiled.chain(KERNELS::compiled::Input::Image(b), \
             &[(&self.point1, &self.depth1, false, None)]); d Interpolate2d (triple)",
        ),
        (
            "let a = self.double.forward(x); let b = a.add(a);",
            "let a = self.double.forward(x); let b = a.add(a); Interpolate2d (double)",
        ),
    ];
    let failed: Vec<_> = rows
        .iter()
        .map(|(given, wanted)| {
            let found = chained(&given.replace("RELU", relu));
            let found = found.map(|found| plain(&found));
            (found, plain(&wanted.replace("KERNELS", KERNELS)))
        })
        .filter(|(found, wanted)| found.as_ref() != Ok(wanted))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
