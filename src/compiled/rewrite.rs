//! Replaces Burn's layers by fer's kernels in the code that `burn-onnx` generates for a model, and
//! proves that none was forgotten.
//!
//! The build script calls this. It reads the syntax tree and recognizes the statements `let OUT =
//! self.LAYER.forward(IN);`, `let OUT = burn::tensor::activation::relu(IN);` and `let OUT =
//! A.add(B);`. It joins a layer with the operations that alone use its output into one call, and
//! small convolutions that follow one another into one for all of them (`chain`). A layer that the
//! kernels support is an error anywhere else. What they do not support is left to Burn, and is
//! named if it takes time.

#[path = "rewrite/chain.rs"]
mod chain;
#[path = "rewrite/layers.rs"]
mod layers;
#[cfg(test)]
#[path = "rewrite/tests.rs"]
mod tests;
#[path = "rewrite/words.rs"]
mod words;

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Expr, File, Ident, ImplItem, Item, Local, Member, Pat, Path, Stmt, Type, parse_quote};

use layers::{Layers, Role, layers, methods};
use words::{functions, mentioned, one_line, slow_methods, words};

/// The module with the functions to call instead; each model gets its own `compiled::Compiled`.
pub const KERNELS: &str = "fer_kernels";

/// A rewritten module.
pub struct Rewritten {
    /// Its code; `forward` has an additional parameter, the model's `Compiled`.
    pub code: String,
    /// What takes time and is left to Burn: each kind with its layers, or with the outputs if there
    /// is no layer, e.g. `Conv2d in groups (conv2d3, conv2d5)`.
    pub generic: Vec<String>,
}

/// Rewrites a generated module.
///
/// # Errors
/// The code does not have exactly one struct with a constructor and a forward pass, or a layer that
/// the kernels support is left to Burn in an unknown form of statement. The error names it.
pub fn rewrite(code: &str) -> Result<Rewritten, String> {
    let mut file = syn::parse_file(code)
        .map_err(|e| format!("burn-onnx generated code that is not Rust: {e}"))?;
    let kernels: Path =
        syn::parse_str(KERNELS).map_err(|e| format!("{KERNELS} is not a path: {e}"))?;
    let passes: Vec<_> = methods(&file, "forward").collect();
    let [(model, forward)] = passes[..] else {
        let count = passes.len();
        return Err(format!(
            "burn-onnx generated {count} forward passes, not one"
        ));
    };
    if forward.sig.receiver().is_none() {
        return Err("burn-onnx generated a forward pass without self".into());
    }
    let layers = layers(&file, model)?;
    let words = words(forward.to_token_stream());
    let mut pass = Pass {
        kernels: &kernels,
        layers: &layers,
        words: &words,
        replaced: HashSet::new(),
        generic: Vec::new(),
    };
    let statements = pass.statements(&forward.block.stmts)?;
    let generic = pass.finish()?;
    let model = model.clone();
    put(&mut file, &model, &kernels, statements);
    let code = prettyplease::unparse(&file);
    Ok(Rewritten { code, generic })
}

/// Replaces the statements of the forward pass of `model`, and adds the parameter `compiled`.
fn put(file: &mut File, model: &Ident, kernels: &Path, statements: Vec<Stmt>) {
    let items = file.items.iter_mut().filter_map(|item| match item {
        Item::Impl(of) if matches!(&*of.self_ty, Type::Path(ty) if ty.path.is_ident(model)) => {
            Some(&mut of.items)
        }
        _ => None,
    });
    let forward = items.flatten().find_map(|item| match item {
        ImplItem::Fn(function) if function.sig.ident == "forward" => Some(function),
        _ => None,
    });
    if let Some(forward) = forward {
        let compiled = parse_quote!(compiled: &#kernels::compiled::Compiled);
        forward.sig.inputs.insert(1, compiled);
        forward.block.stmts = statements;
    }
}

/// What a statement computes.
#[derive(Clone, Copy)]
enum Operation<'a> {
    Layer { name: &'a Ident, kind: &'a str },
    Relu,
    Add { other: &'a Expr },
}

struct Statement<'a> {
    output: &'a Ident,
    input: &'a Expr,
    operation: Operation<'a>,
}

impl<'a> Statement<'a> {
    fn parse(statement: &'a Stmt, layers: &'a Layers) -> Option<Self> {
        let Stmt::Local(Local {
            attrs,
            pat: Pat::Ident(pattern),
            init: Some(value),
            ..
        }) = statement
        else {
            return None;
        };
        let plain = attrs.is_empty()
            && value.diverge.is_none()
            && pattern.by_ref.is_none()
            && pattern.mutability.is_none()
            && pattern.subpat.is_none();
        let (input, operation) = operation(&value.expr, layers).filter(|_| plain)?;
        Some(Self {
            output: &pattern.ident,
            input,
            operation,
        })
    }

    /// Whether its input is that variable.
    fn takes(&self, variable: &Ident) -> bool {
        matches!(self.input, Expr::Path(path) if path.path.is_ident(variable))
    }
}

/// The input of an expression of a known form, and what the expression computes.
fn operation<'a>(value: &'a Expr, layers: &'a Layers) -> Option<(&'a Expr, Operation<'a>)> {
    match value {
        Expr::Call(call) if call.args.len() == 1 => {
            let relu =
                words(call.func.to_token_stream()).concat() == "burn::tensor::activation::relu";
            relu.then(|| (&call.args[0], Operation::Relu))
        }
        Expr::MethodCall(call) if call.args.len() == 1 && call.turbofish.is_none() => {
            let argument = &call.args[0];
            if call.method == "add" {
                return Some((&call.receiver, Operation::Add { other: argument }));
            }
            let (Expr::Field(field), true) = (&*call.receiver, call.method == "forward") else {
                return None;
            };
            let (Expr::Path(base), Member::Named(name)) = (&*field.base, &field.member) else {
                return None;
            };
            let layer = layers.get(&name.to_string())?;
            let known = layer.is_known() || layer.is(Role::Double);
            let known = base.path.is_ident("self") && known;
            let kind = &*layer.kind;
            known.then_some((argument, Operation::Layer { name, kind }))
        }
        _ => None,
    }
}

/// The forward pass of one model.
struct Pass<'a> {
    kernels: &'a Path,
    layers: &'a Layers,
    /// All its code.
    words: &'a [String],
    /// Layers that the kernels have replaced.
    replaced: HashSet<String>,
    /// What takes time and is left to Burn: its kind, and the layer or the output.
    generic: Vec<(String, String)>,
}

impl<'a> Pass<'a> {
    fn statements(&mut self, statements: &'a [Stmt]) -> Result<Vec<Stmt>, String> {
        let mut rewritten = Vec::with_capacity(statements.len());
        let mut at = 0;
        while at < statements.len() {
            let first = Statement::parse(&statements[at], self.layers);
            let joined = first
                .as_ref()
                .and_then(|first| self.join(first, &statements[at + 1..]));
            match (joined, first) {
                (Some((statement, more)), Some(first)) => {
                    // Inner expressions of the call stay as they are.
                    let mut operands = first.input.to_token_stream();
                    if let Operation::Add { other } = first.operation {
                        other.to_tokens(&mut operands);
                    }
                    self.left(operands, &statements[at])?;
                    rewritten.push(statement);
                    at += 1 + more;
                }
                _ => {
                    self.left(statements[at].to_token_stream(), &statements[at])?;
                    rewritten.push(statements[at].clone());
                    at += 1;
                }
            }
        }
        Ok(rewritten)
    }

    /// The first statement and those of `rest` that are computed with it, as one call, and their
    /// number in `rest`.
    fn join(&mut self, first: &Statement<'a>, rest: &'a [Stmt]) -> Option<(Stmt, usize)> {
        if let Some(chain) = self.chain(first, rest) {
            return Some(chain);
        }
        let kernels = self.kernels;
        let mut joined = Joined {
            pass: self,
            rest,
            count: 0,
            output: first.output,
        };
        let input = first.input;
        let call: Expr = match first.operation {
            Operation::Layer {
                name,
                kind: "Conv2d",
            } => {
                // `Compiled` has one form of each convolution's kernels.
                let alone = joined.pass.mentions(name) > 1;
                let norm = if alone {
                    None
                } else {
                    joined.layer("BatchNorm")
                };
                let relu = !alone && joined.relu();
                let norm: Expr = match norm {
                    Some(norm) => parse_quote!(Some(&self.#norm)),
                    None => parse_quote!(None),
                };
                parse_quote!(compiled.conv2d(&self.#name, #norm, #input, #relu))
            }
            Operation::Layer {
                name,
                kind: "BatchNorm",
            } => match joined.layer("MaxPool2d") {
                Some(pool) => parse_quote! {
                    #kernels::compiled::batch_norm_max_pool2d(&self.#name, &self.#pool, #input)
                },
                None => {
                    let relu = joined.relu();
                    parse_quote!(#kernels::compiled::batch_norm(&self.#name, #input, #relu))
                }
            },
            Operation::Layer {
                name,
                kind: "MaxPool2d",
            } => parse_quote!(#kernels::nn::max_pool2d(&self.#name, #input)),
            Operation::Layer { .. } => return None,
            Operation::Add { other } if joined.relu() => {
                parse_quote!(#kernels::compiled::add_relu(#input, #other))
            }
            Operation::Add { .. } | Operation::Relu => return None,
        };
        let (count, output) = (joined.count, joined.output);
        if let Operation::Layer { name, .. } = first.operation {
            self.replace(name);
        }
        Some((parse_quote!(let #output = #call;), count))
    }

    /// How often the forward pass uses `self.NAME`.
    fn mentions(&self, name: &Ident) -> usize {
        mentioned(self.words).filter(|found| name == found).count()
    }

    fn replace(&mut self, name: &Ident) {
        let name = name.to_string();
        if let Some(kind) = self.layers.get(&name).and_then(|layer| layer.slow()) {
            self.generic.push((kind, name.clone()));
        }
        self.replaced.insert(name);
    }

    /// Checks code that is left as it is, a part of `statement`.
    fn left(&mut self, code: TokenStream, statement: &Stmt) -> Result<(), String> {
        let found = words(code);
        for name in mentioned(&found) {
            match self.layers.get(name) {
                Some(layer) if layer.is_supported() => {
                    let (kind, statement) = (&layer.kind, one_line(statement));
                    return Err(format!(
                        "layer {name} ({kind}) is left to Burn, in a statement of a form that is \
                         not known: `{statement}`"
                    ));
                }
                Some(layer) => {
                    let slow = layer.slow().map(|kind| (kind, name.clone()));
                    self.generic.extend(slow);
                }
                None => {}
            }
        }
        let output = match statement {
            Stmt::Local(Local { pat, .. }) => words(pat.to_token_stream()).concat(),
            _ => "the output".into(),
        };
        let slow = functions(&found).chain(slow_methods(&found));
        self.generic.extend(slow.map(|kind| (kind, output.clone())));
        Ok(())
    }

    /// What is left to Burn, by kind; an error if a layer was forgotten.
    fn finish(self) -> Result<Vec<String>, String> {
        let forgotten = |name: &String| !self.replaced.contains(name);
        let mut supported = self.layers.iter().filter(|(_, layer)| layer.is_supported());
        if let Some((name, layer)) = supported.find(|(name, _)| forgotten(name)) {
            return Err(format!(
                "layer {name} ({}) is in no statement of a known form",
                layer.kind
            ));
        }
        let mut kinds: Vec<(String, Vec<String>)> = Vec::new();
        for (kind, name) in self.generic {
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, names)) if names.contains(&name) => {}
                Some((_, names)) => names.push(name),
                None => kinds.push((kind, vec![name])),
            }
        }
        let line = |(kind, names): (String, Vec<String>)| format!("{kind} ({})", names.join(", "));
        Ok(kinds.into_iter().map(line).collect())
    }
}

/// A call that absorbs consecutive statements, as long as each of them alone uses the output of the
/// last.
struct Joined<'p, 'a> {
    pass: &'p mut Pass<'a>,
    rest: &'a [Stmt],
    count: usize,
    output: &'a Ident,
}

impl<'a> Joined<'_, 'a> {
    fn next(&self) -> Option<Statement<'a>> {
        let next = Statement::parse(self.rest.get(self.count)?, self.pass.layers)?;
        let uses = self.pass.words.iter().filter(|word| self.output == *word);
        // It is assigned once and used once.
        (next.takes(self.output) && uses.count() == 2).then_some(next)
    }

    fn layer(&mut self, wanted: &str) -> Option<&'a Ident> {
        let next = self.next()?;
        match next.operation {
            Operation::Layer { name, kind } if kind == wanted => {
                self.pass.replace(name);
                (self.count, self.output) = (self.count + 1, next.output);
                Some(name)
            }
            _ => None,
        }
    }

    fn relu(&mut self) -> bool {
        match self.next() {
            Some(next) if matches!(next.operation, Operation::Relu) => {
                (self.count, self.output) = (self.count + 1, next.output);
                true
            }
            _ => false,
        }
    }
}
