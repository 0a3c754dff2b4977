//! The layers of a generated module: which of them the kernels support, and which of the others
//! take time.

use std::collections::{BTreeMap, HashMap};

use quote::ToTokens;
use syn::{
    Expr, ExprLit, Fields, File, Ident, ImplItem, ImplItemFn, Item, ItemImpl, Lit, Local, Pat,
    Stmt, Type,
};

use super::words::words;

/// The kinds that the kernels support.
const SUPPORTED: [&str; 3] = ["Conv2d", "BatchNorm", "MaxPool2d"];

/// Kinds that take little time in Burn: its matrix products are fast, global pooling leaves one
/// value per channel, dropout does nothing, and a `Param` is a constant.
const CHEAP: [&str; 5] = [
    "Linear",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "Dropout",
    "Param",
];

/// Channels in a chain are multiples of this, and at most [`MOST`], as in `fer_kernels::chain`.
const LANES: u64 = 16;
const MOST: u64 = 128;

/// A layer's place in a chain of small convolutions (`fer_kernels::chain`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A 3×3 convolution of stride 2 on three channels.
    First,
    /// A convolution of one pixel.
    Pointwise,
    /// A 3×3 depthwise convolution.
    Depthwise,
    /// 2×2 max pooling.
    Pool,
    /// An image of twice the height and width, each pixel four times.
    Double,
}

/// The fields of the module by name.
pub type Layers = BTreeMap<String, Layer>;

/// A field of the module.
pub struct Layer {
    /// Its type without path and parameters.
    pub kind: String,
    /// What the kernels do not support of its configuration, if they support its kind.
    lacks: Option<&'static str>,
    /// Its place in a chain, if it can have one.
    role: Option<Role>,
}

impl Layer {
    /// Whether the kernels support this kind of layer, whatever its configuration.
    pub fn is_known(&self) -> bool {
        SUPPORTED.contains(&&*self.kind)
    }

    /// Whether the kernels support it.
    pub fn is_supported(&self) -> bool {
        self.is_known() && self.lacks.is_none()
    }

    /// Whether it can have this place in a chain.
    pub fn is(&self, role: Role) -> bool {
        self.role == Some(role)
    }

    /// Its description, if Burn computes it and that takes time.
    pub fn slow(&self) -> Option<String> {
        match self.lacks {
            Some(lacks) => Some(format!("{} {lacks}", self.kind)),
            None if self.is_known() || CHEAP.contains(&&*self.kind) => None,
            None => Some(self.kind.clone()),
        }
    }
}

/// The fields of struct `model`, with their configuration from its constructor.
///
/// # Errors
/// There is no such struct, or its constructor does not show a layer's configuration.
pub fn layers(file: &File, model: &Ident) -> Result<Layers, String> {
    let fields = file.items.iter().find_map(|item| match item {
        Item::Struct(found) if found.ident == *model => Some(&found.fields),
        _ => None,
    });
    let Some(Fields::Named(fields)) = fields else {
        return Err(format!("burn-onnx generated no struct {model} with fields"));
    };
    let constructed = constructed(file, model);
    let layer = |field: &syn::Field| {
        let (Some(name), Type::Path(path)) = (&field.ident, &field.ty) else {
            return Err(format!("{model} has a field of a form that is not known"));
        };
        let kind = path.path.segments.last().map(|s| s.ident.to_string());
        let kind = kind.unwrap_or_default();
        let settings = constructed.get(name).map(|value| Settings::of(value));
        let lacks = match (&*kind, settings) {
            ("Conv2d", Some(settings)) => settings.convolution_lacks(),
            ("MaxPool2d", Some(settings)) => settings.pooling_lacks(),
            ("Conv2d" | "MaxPool2d", None) => {
                return Err(format!(
                    "{model}'s constructor does not show how layer {name} ({kind}) is configured"
                ));
            }
            _ => None,
        };
        let role = constructed.get(name).map(|value| Settings::of(value));
        let role = role.and_then(|settings| settings.role(&kind));
        Ok((name.to_string(), Layer { kind, lacks, role }))
    };
    fields.named.iter().map(layer).collect()
}

/// The values in `let NAME = VALUE;` in `new` of struct `model`.
fn constructed<'a>(file: &'a File, model: &Ident) -> HashMap<&'a Ident, &'a Expr> {
    let functions = methods(file, "new").filter(|(of, _)| *of == model);
    let statements = functions.flat_map(|(_, function)| &function.block.stmts);
    statements
        .filter_map(|statement| match statement {
            Stmt::Local(Local {
                pat: Pat::Ident(name),
                init: Some(value),
                ..
            }) => Some((&name.ident, &*value.expr)),
            _ => None,
        })
        .collect()
}

/// The methods of that name, with their types.
pub fn methods<'a>(
    file: &'a File,
    name: &str,
) -> impl Iterator<Item = (&'a Ident, &'a ImplItemFn)> {
    let of = |item: &'a Item| match item {
        Item::Impl(ItemImpl { self_ty, items, .. }) => match &**self_ty {
            Type::Path(path) => Some((path.path.get_ident()?, items)),
            _ => None,
        },
        _ => None,
    };
    file.items
        .iter()
        .filter_map(of)
        .flat_map(|(of, items)| items.iter().map(move |item| (of, item)))
        .filter_map(move |(of, item)| match item {
            ImplItem::Fn(function) if function.sig.ident == name => Some((of, function)),
            _ => None,
        })
}

/// The calls of `Conv2dConfig::new(..).with_stride(..)…` by name, with their first arguments; the
/// second one of `new` is `kernel`.
struct Settings<'a>(HashMap<String, &'a Expr>);

impl<'a> Settings<'a> {
    fn of(mut value: &'a Expr) -> Self {
        let mut calls = HashMap::new();
        // From the last call to the first; of equal names, the last counts.
        while let Expr::MethodCall(call) = value {
            if let Some(first) = call.args.first() {
                calls.entry(call.method.to_string()).or_insert(first);
            }
            value = &call.receiver;
        }
        if let Expr::Call(call) = value {
            let arguments = ["new", "kernel"].into_iter().zip(&call.args);
            calls.extend(arguments.map(|(name, value)| (name.into(), value)));
        }
        Self(calls)
    }

    /// Whether a setting is missing, and so the default, or consists of these numbers.
    fn is(&self, name: &str, wanted: &[u64]) -> bool {
        let found = self.0.get(name);
        found.is_none_or(|value| numbers(value).is_some_and(|found| found == wanted))
    }

    /// The name of the padding's variant and its numbers.
    fn padding(&self) -> Option<(String, Vec<u64>)> {
        let (path, numbers) = match self.0.get("with_padding")? {
            Expr::Path(path) => (&path.path, Vec::new()),
            Expr::Call(call) => match &*call.func {
                Expr::Path(path) => {
                    let numbers = call.args.iter().filter_map(numbers).flatten();
                    (&path.path, numbers.collect())
                }
                _ => return None,
            },
            _ => return None,
        };
        Some((path.segments.last()?.ident.to_string(), numbers))
    }

    /// What `kernels::compiled::conv2d` leaves to Burn.
    fn convolution_lacks(&self) -> Option<&'static str> {
        let padding = self.padding();
        let same = padding.is_some_and(|(variant, _)| variant == "Same");
        [
            (
                "in groups",
                !self.is("with_groups", &[1]) && !self.is_depthwise(),
            ),
            ("with dilation", !self.is("with_dilation", &[1, 1])),
            ("with padding Same", same),
        ]
        .into_iter()
        .find_map(|(what, lacks)| lacks.then_some(what))
    }

    /// Whether a convolution has as many groups as input and output channels.
    fn is_depthwise(&self) -> bool {
        let channels = self.0.get("new").and_then(|value| numbers(value));
        let groups = self.0.get("with_groups").and_then(|value| numbers(value));
        match (channels.as_deref(), groups.as_deref()) {
            (Some([inputs, outputs]), Some([groups])) => inputs == groups && outputs == groups,
            _ => false,
        }
    }

    /// The place in a chain of a layer of this kind.
    fn role(&self, kind: &str) -> Option<Role> {
        match kind {
            "Conv2d" => self.convolution_role(),
            "MaxPool2d" => self.pooling_lacks().is_none().then_some(Role::Pool),
            "Interpolate2d" => {
                let word = |name: &str| self.0.get(name).map(|v| words(v.to_token_stream()));
                let ends = |name: &str, end: &str| {
                    word(name).is_some_and(|words| words.concat().ends_with(end))
                };
                let doubles = word("with_scale_factor")
                    .is_some_and(|words| words.concat() == "Some((2.0,2.0))");
                let nearest = ends("with_mode", "InterpolateMode::Nearest")
                    && ends("with_align_corners", "false")
                    && ends("with_output_size", "None");
                (doubles && nearest).then_some(Role::Double)
            }
            _ => None,
        }
    }

    fn convolution_role(&self) -> Option<Role> {
        let of = |name: &str| self.0.get(name).and_then(|value| numbers(value));
        let channels = of("new")?;
        let fits = |channels: &u64| *channels <= MOST && channels.is_multiple_of(LANES);
        let padding = match self.padding() {
            None => [0; 4].to_vec(),
            Some((variant, _)) if variant == "Valid" => [0; 4].to_vec(),
            Some((variant, numbers)) if variant == "Explicit" => numbers,
            Some(_) => return None,
        };
        let one = self.is("with_stride", &[1, 1]);
        if !self.is("with_dilation", &[1, 1]) || !channels.last().is_some_and(fits) {
            return None;
        }
        match of("kernel")?[..] {
            [1, 1] if padding == [0; 4] && one && self.is("with_groups", &[1]) => {
                channels.iter().all(fits).then_some(Role::Pointwise)
            }
            [3, 3] if padding == [1; 4] && one && self.is_depthwise() => Some(Role::Depthwise),
            [3, 3]
                if padding == [1; 4]
                    && channels[0] == 3
                    && of("with_stride").is_some_and(|stride| stride == [2, 2])
                    && self.is("with_groups", &[1]) =>
            {
                Some(Role::First)
            }
            _ => None,
        }
    }

    /// What `kernels::nn::max_pool2d` leaves to Burn.
    fn pooling_lacks(&self) -> Option<&'static str> {
        let unpadded = match self.padding() {
            None => !self.0.contains_key("with_padding"),
            Some((variant, _)) if variant == "Valid" => true,
            Some((variant, numbers)) => variant == "Explicit" && numbers == [0; 4],
        };
        let halves = unpadded
            && self.is("new", &[2, 2])
            && self.is("with_strides", &[2, 2])
            && self.is("with_dilation", &[1, 1])
            && !self
                .0
                .get("with_ceil_mode")
                .is_some_and(|value| is_true(value));
        (!halves).then_some("of other windows than 2x2")
    }
}

/// A number, or those of an array.
fn numbers(value: &Expr) -> Option<Vec<u64>> {
    match value {
        Expr::Array(array) => {
            let each = array.elems.iter().map(numbers);
            Some(each.collect::<Option<Vec<_>>>()?.concat())
        }
        Expr::Lit(ExprLit {
            lit: Lit::Int(number),
            ..
        }) => Some(vec![number.base10_parse().ok()?]),
        _ => None,
    }
}

fn is_true(value: &Expr) -> bool {
    matches!(value, Expr::Lit(ExprLit { lit: Lit::Bool(found), .. }) if found.value)
}
