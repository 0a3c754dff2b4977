//! Puts the project's kernels in the place of Burn's layers in the code that `burn-onnx` generates
//! for a model.
//!
//! The build script calls this. It knows the statements `let OUT = self.LAYER.forward(IN);`,
//! `let OUT = burn::tensor::activation::relu(IN);` and `let OUT = A.add(B);`, joins a layer and
//! what alone follows it into one call, and leaves all else as it is: what it does not know is
//! computed by Burn.

use std::collections::HashMap;

/// The functions that are called instead; `compiled` is the model's `kernels::compiled::Compiled`.
const KERNELS: &str = "fer_kernels";

/// Rewrites a generated module; its `forward` gets one more parameter, the model's `Compiled`.
///
/// # Errors
/// The code has not one forward pass.
pub fn rewrite(code: &str) -> Result<String, String> {
    let signature = "pub fn forward(&self, ";
    if code.matches(signature).count() != 1 {
        return Err("burn-onnx generated a forward pass of a form that is not known".into());
    }
    let code = code.replace(
        signature,
        &format!("{signature}compiled: &{KERNELS}::compiled::Compiled, "),
    );
    let layers = layers(&code);
    let lines: Vec<&str> = code.lines().collect();
    let mut rewritten = String::with_capacity(code.len());
    let mut at = 0;
    while at < lines.len() {
        let (line, count) = Statement::parse(lines[at], &layers)
            .and_then(|first| joined(&code, &layers, &lines[at..], &first))
            .unwrap_or_else(|| (lines[at].to_string(), 1));
        rewritten.push_str(&line);
        rewritten.push('\n');
        at += count;
    }
    Ok(rewritten)
}

/// The fields of the module and their types.
fn layers(code: &str) -> HashMap<&str, &str> {
    let fields = code
        .lines()
        .filter_map(|line| line.trim().strip_suffix(',')?.split_once(": "));
    fields
        .filter(|(_, kind)| ["Conv2d", "BatchNorm", "MaxPool2d"].contains(kind))
        .collect()
}

/// What a statement computes.
#[derive(Clone, Copy, PartialEq)]
enum Kind<'a> {
    Layer { name: &'a str, kind: &'a str },
    Relu,
    Add { other: &'a str },
}

struct Statement<'a> {
    output: &'a str,
    input: &'a str,
    kind: Kind<'a>,
}

impl<'a> Statement<'a> {
    fn parse(line: &'a str, layers: &HashMap<&str, &'a str>) -> Option<Self> {
        let (output, value) = line
            .trim()
            .strip_prefix("let ")?
            .strip_suffix(");")?
            .split_once(" = ")?;
        if let Some(input) = value.strip_prefix("burn::tensor::activation::relu(") {
            return Some(Self {
                output,
                input,
                kind: Kind::Relu,
            });
        }
        if let Some((input, other)) = value.split_once(".add(") {
            return Some(Self {
                output,
                input,
                kind: Kind::Add { other },
            });
        }
        let (name, input) = value.strip_prefix("self.")?.split_once(".forward(")?;
        let kind = *layers.get(name)?;
        Some(Self {
            output,
            input,
            kind: Kind::Layer { name, kind },
        })
    }
}

/// The first of `lines`, which is `first`, and those after it that are computed with it, as one
/// line; and how many they are.
fn joined(
    code: &str,
    layers: &HashMap<&str, &str>,
    lines: &[&str],
    first: &Statement,
) -> Option<(String, usize)> {
    let mut count = 1;
    let mut output = first.output;
    // The next statement, if it is the only one that uses the output of the last.
    let next = |count: usize, output: &str| {
        let statement = Statement::parse(lines.get(count)?, layers)?;
        let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        (statement.input == output && words.filter(|word| *word == output).count() == 2)
            .then_some(statement)
    };
    let layer = |statement: &Option<Statement>, wanted: &str| match statement {
        Some(Statement {
            kind: Kind::Layer { name, kind },
            ..
        }) if *kind == wanted => Some(name.to_string()),
        _ => None,
    };
    let mut follows = |wanted: Option<&str>| {
        let statement = next(count, output);
        let name = match wanted {
            Some(wanted) => layer(&statement, wanted)?,
            None if statement.as_ref()?.kind == Kind::Relu => String::new(),
            None => return None,
        };
        let line = lines[count];
        count += 1;
        output = line.trim().strip_prefix("let ")?.split_once(" = ")?.0;
        Some(name)
    };
    let input = first.input;
    let call = match first.kind {
        Kind::Layer {
            name,
            kind: "Conv2d",
        } => {
            let norm = follows(Some("BatchNorm"))
                .map_or("None".into(), |norm| format!("Some(&self.{norm})"));
            let relu = follows(None).is_some();
            format!("compiled.conv2d(&self.{name}, {norm}, {input}, {relu})")
        }
        Kind::Layer {
            name,
            kind: "BatchNorm",
        } => match follows(Some("MaxPool2d")) {
            Some(pool) => format!(
                "{KERNELS}::compiled::batch_norm_max_pool2d(&self.{name}, &self.{pool}, {input})"
            ),
            None => {
                let relu = follows(None).is_some();
                format!("{KERNELS}::compiled::batch_norm(&self.{name}, {input}, {relu})")
            }
        },
        Kind::Layer { name, .. } => format!("{KERNELS}::nn::max_pool2d(&self.{name}, {input})"),
        Kind::Add { other } => {
            follows(None)?;
            format!("{KERNELS}::compiled::add_relu({input}, {other})")
        }
        Kind::Relu => return None,
    };
    let indent = &lines[0][..lines[0].len() - lines[0].trim_start().len()];
    Some((format!("{indent}let {output} = {call};"), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "pub struct Model {
    conv1: Conv2d,
    norm1: BatchNorm,
    norm2: BatchNorm,
    pool1: MaxPool2d,
    linear1: Linear,
}
    pub fn forward(&self, input: Tensor<4>) -> Tensor<2> {
";

    /// The lines of a forward pass, rewritten.
    fn forward(lines: &str) -> String {
        let code = rewrite(&format!("{HEAD}{lines}")).unwrap();
        let start = code.find("-> Tensor<2> {\n").unwrap() + "-> Tensor<2> {\n".len();
        code[start..].to_string()
    }

    #[test]
    fn a_layer_and_what_alone_follows_it_are_one_call() {
        let rows = [
            (
                "    let a = self.conv1.forward(input);\n    let b = burn::tensor::activation::relu(a);\n",
                "    let b = compiled.conv2d(&self.conv1, None, input, true);\n",
            ),
            (
                "let a = self.conv1.forward(input);\nlet b = self.norm1.forward(a);\nlet c = \
                 burn::tensor::activation::relu(b);\n",
                "let c = compiled.conv2d(&self.conv1, Some(&self.norm1), input, true);\n",
            ),
            (
                "let a = self.norm1.forward(input);\nlet b = self.pool1.forward(a);\n",
                "let b = fer_kernels::compiled::batch_norm_max_pool2d(&self.norm1, &self.pool1, input);\n",
            ),
            (
                "let a = self.norm1.forward(input);\nlet b = self.norm2.forward(a);\n",
                "let a = fer_kernels::compiled::batch_norm(&self.norm1, input, false);\nlet b = \
                 fer_kernels::compiled::batch_norm(&self.norm2, a, false);\n",
            ),
            // The convolution's output is wanted elsewhere too.
            (
                "let a = self.conv1.forward(input);\nlet b = burn::tensor::activation::relu(a.clone());\nlet c = a.add(b);\n",
                "let a = compiled.conv2d(&self.conv1, None, input, false);\nlet b = \
                 burn::tensor::activation::relu(a.clone());\nlet c = a.add(b);\n",
            ),
            (
                "let c = a.add(b);\nlet d = burn::tensor::activation::relu(c);\n",
                "let d = fer_kernels::compiled::add_relu(a, b);\n",
            ),
            // What is not known stays.
            (
                "let a = self.linear1.forward(input);\nreturn a\n",
                "let a = self.linear1.forward(input);\nreturn a\n",
            ),
        ];
        let failed: Vec<_> = rows
            .iter()
            .filter(|(given, wanted)| forward(given) != **wanted)
            .collect();
        assert!(failed.is_empty(), "{failed:#?}\n{}", forward(failed[0].0));
    }

    #[test]
    fn an_input_may_have_any_name() {
        let code =
            rewrite("    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {\n").unwrap();
        let wanted =
            "pub fn forward(&self, compiled: &fer_kernels::compiled::Compiled, images: Tensor<4>)";
        assert!(code.contains(wanted), "{code}");
    }

    #[test]
    fn code_without_a_forward_pass_is_refused() {
        assert!(rewrite("fn main() {}\n").is_err());
    }
}
