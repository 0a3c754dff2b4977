//! Small convolutions that follow one another: one call of `compiled::Compiled::chain`.
//!
//! A link is a convolution of one pixel, a depthwise one of its output, and a ReLU and max pooling,
//! if they follow. Before the links may be a first convolution with its ReLU, a max pooling, or the
//! sum with an image of twice the size. Each output is used by the next statement alone.

use proc_macro2::Ident;
use syn::{Expr, Stmt, parse_quote};

use super::layers::Role;
use super::{Operation, Pass, Statement};

impl<'a> Pass<'a> {
    /// The chain that begins with the first statement, as one call, and the number of its
    /// statements in `rest`.
    pub fn chain(&mut self, first: &Statement<'a>, rest: &'a [Stmt]) -> Option<(Stmt, usize)> {
        let kernels = self.kernels;
        let mut reader = Reader {
            pass: self,
            rest,
            count: 0,
            output: first.output,
            layers: Vec::new(),
        };
        let Operation::Layer { name, .. } = first.operation else {
            return None;
        };
        let input = first.input;
        let mut links: Vec<Expr> = Vec::new();
        let from: Expr = if reader.begins(name, Role::First) {
            reader.relu().then_some(())?;
            parse_quote!(#kernels::compiled::Input::Planes(&self.#name, #input))
        } else if reader.begins(name, Role::Pool) {
            parse_quote!(#kernels::compiled::Input::Pool(&self.#name, #input))
        } else if reader.begins(name, Role::Double) {
            let sum = reader.sum()?;
            parse_quote!(#kernels::compiled::Input::Sum(#sum, &self.#name, #input))
        } else if reader.begins(name, Role::Pointwise) {
            links.push(reader.link(name)?);
            parse_quote!(#kernels::compiled::Input::Image(#input))
        } else {
            return None;
        };
        // A convolution of one pixel without a depthwise one after it ends the chain.
        loop {
            let before = (reader.count, reader.output, reader.layers.len());
            let link = reader.layer(Role::Pointwise);
            let Some(link) = link.and_then(|name| reader.link(name)) else {
                (reader.count, reader.output) = (before.0, before.1);
                reader.layers.truncate(before.2);
                break;
            };
            links.push(link);
        }
        if links.is_empty() {
            return None;
        }
        let (count, output) = (reader.count, reader.output);
        let layers = reader.layers.into_iter().map(Ident::to_string);
        let layers: Vec<String> = layers.collect();
        self.replaced.extend(layers);
        let call: Expr = parse_quote!(compiled.chain(#from, &[#(#links),*]));
        Some((parse_quote!(let #output = #call;), count))
    }
}

/// Statements, read one after another; nothing is replaced yet.
struct Reader<'p, 'a> {
    pass: &'p Pass<'a>,
    rest: &'a [Stmt],
    count: usize,
    /// What the last statement assigned.
    output: &'a Ident,
    /// The layers of the chain so far.
    layers: Vec<&'a Ident>,
}

impl<'a> Reader<'_, 'a> {
    /// Whether a layer can have this place; it is the chain's then.
    fn begins(&mut self, name: &'a Ident, role: Role) -> bool {
        let layer = self.pass.layers.get(&name.to_string());
        let begins = layer.is_some_and(|layer| layer.is(role)) && self.pass.mentions(name) == 1;
        if begins {
            self.layers.push(name);
        }
        begins
    }

    /// The next statement, if nothing else uses the last output.
    fn next(&self) -> Option<Statement<'a>> {
        let uses = self.pass.words.iter().filter(|word| self.output == *word);
        // It is assigned once and used once.
        (uses.count() == 2).then_some(())?;
        Statement::parse(self.rest.get(self.count)?, self.pass.layers)
    }

    fn goes_on(&mut self, next: &Statement<'a>) {
        (self.count, self.output) = (self.count + 1, next.output);
    }

    /// The next layer, if it takes the last output and can have this place.
    fn layer(&mut self, role: Role) -> Option<&'a Ident> {
        let next = self.next().filter(|next| next.takes(self.output))?;
        match next.operation {
            Operation::Layer { name, .. } if self.begins(name, role) => {
                self.goes_on(&next);
                Some(name)
            }
            _ => None,
        }
    }

    /// Whether a ReLU of the last output is next.
    fn relu(&mut self) -> bool {
        match self.next() {
            Some(next) if next.takes(self.output) && matches!(next.operation, Operation::Relu) => {
                self.goes_on(&next);
                true
            }
            _ => false,
        }
    }

    /// The variable to which the next statement adds the last output.
    fn sum(&mut self) -> Option<&'a Expr> {
        let next = self.next().filter(|next| is_variable(next.input))?;
        match next.operation {
            Operation::Add {
                other: Expr::Path(other),
            } if other.path.is_ident(self.output) => {
                self.goes_on(&next);
                Some(next.input)
            }
            _ => None,
        }
    }

    /// The rest of a link after its convolution of one pixel.
    fn link(&mut self, pointwise: &Ident) -> Option<Expr> {
        let depthwise = self.layer(Role::Depthwise)?;
        let relu = self.relu();
        let pool: Expr = match self.layer(Role::Pool) {
            Some(pool) => parse_quote!(Some(&self.#pool)),
            None => parse_quote!(None),
        };
        Some(parse_quote!((&self.#pointwise, &self.#depthwise, #relu, #pool)))
    }
}

/// Whether an expression is a variable, or a clone of one.
fn is_variable(value: &Expr) -> bool {
    match value {
        Expr::Path(_) => true,
        Expr::MethodCall(call) => {
            call.method == "clone" && call.args.is_empty() && is_variable(&call.receiver)
        }
        _ => false,
    }
}
