//! Code as words, independent of its layout: the fields, functions and methods that it uses, also
//! in macros.

use proc_macro2::{TokenStream, TokenTree};
use syn::{Stmt, parse_quote};

/// The paths of functions that do the work of layers.
const FUNCTIONS: [&str; 5] = [
    "burn::tensor::activation::",
    "burn::tensor::module::",
    "burn::tensor::signal::",
    "burn::tensor::linalg::",
    "burn::vision::",
];

/// Those of [`FUNCTIONS`] that take little time: a ReLU is one comparison per value, and a softmax
/// runs on a classifier's few outputs.
const CHEAP_FUNCTIONS: [&str; 3] = ["relu", "softmax", "log_softmax"];

/// Methods of tensors that take time: a transcendental function of each value. The others move
/// values, do one sum or product per value, or are matrix products, which are fast in Burn.
const SLOW_METHODS: [&str; 6] = ["erf", "exp", "log", "powf", "powf_scalar", "tanh"];

/// The identifiers, literals and punctuation of code, independent of its layout, also in macros. A
/// path is one word.
pub fn words(code: TokenStream) -> Vec<String> {
    let mut words = Vec::new();
    flatten(code, &mut words);
    let mut joined: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        match joined.last_mut() {
            Some(last) if last.ends_with("::") || (word == "::" && is_name(last)) => {
                last.push_str(&word);
            }
            _ => joined.push(word),
        }
    }
    joined
}

fn flatten(code: TokenStream, words: &mut Vec<String>) {
    for token in code {
        match token {
            TokenTree::Group(group) => {
                words.push("(".into());
                flatten(group.stream(), words);
                words.push(")".into());
            }
            TokenTree::Punct(sign) => match words.last_mut() {
                Some(last) if last == ":" && sign.as_char() == ':' => last.push(':'),
                _ => words.push(sign.to_string()),
            },
            token => words.push(token.to_string()),
        }
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// The fields of `self` that code uses.
pub fn mentioned(words: &[String]) -> impl Iterator<Item = &String> {
    words.windows(3).filter_map(|found| match found {
        [object, dot, field] if object == "self" && dot == "." => Some(field),
        _ => None,
    })
}

/// The functions that code calls and that take time, and the layers that it creates inline.
pub fn functions(words: &[String]) -> impl Iterator<Item = String> {
    words.iter().filter_map(|path| {
        if let Some(layer) = path.strip_prefix("burn::nn::") {
            let layer = layer.strip_suffix("Config::new")?;
            return layer.rsplit("::").next().map(String::from);
        }
        let function = FUNCTIONS
            .iter()
            .find_map(|place| path.strip_prefix(place))?;
        (!CHEAP_FUNCTIONS.contains(&function)).then(|| function.into())
    })
}

/// The methods that code calls and that take time.
pub fn slow_methods(words: &[String]) -> impl Iterator<Item = String> {
    words.windows(3).filter_map(|found| match found {
        [dot, method, arguments] if dot == "." && arguments == "(" => {
            SLOW_METHODS.contains(&&**method).then(|| method.clone())
        }
        _ => None,
    })
}

/// A statement in one line.
pub fn one_line(statement: &Stmt) -> String {
    let printed = prettyplease::unparse(&parse_quote!(fn f() { #statement }));
    let lines: Vec<&str> = printed.lines().map(str::trim).collect();
    // The first and the last are the function's.
    let lines = lines.get(1..lines.len().saturating_sub(1));
    lines.unwrap_or_default().join(" ").replace(" .", ".")
}
