//! `Lambda` layers: Python functions, of which files hold the compiled code. One that only scales
//! and shifts its input is recognized, so that an error can say what to put in its place.

use serde_json::Value as Json;

use crate::affine::Affine;
use crate::config::Fields;

/// The most bytes of code that are read.
const MAX_CODE: usize = 4096;

/// Why a layer can't be converted.
pub(super) fn reason(fields: &Fields<'_>) -> String {
    match affine(fields) {
        Some(Affine { scale, offset }) => format!(
            "it is a Python function that seems to return its input × {scale}{}; \
             Rescaling({scale}, {offset}) in its place converts",
            if offset == 0.0 {
                String::new()
            } else {
                format!(" + {offset}")
            }
        ),
        None => "it is a Python function; layers or keras.ops in its place convert".into(),
    }
}

/// What a function of only additions and multiplications by constants computes.
pub(crate) fn affine(fields: &Fields<'_>) -> Option<Affine> {
    let function = fields.get("function")?;
    let text = match function {
        Json::Array(parts) => parts.first()?.as_str()?,
        _ => function["config"]["code"].as_str()?,
    };
    let code = base64(text)?;
    let (instructions, constants) = compiled(&code)?;
    run(&instructions, &constants)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for c in text
        .bytes()
        .filter(|c| !c.is_ascii_whitespace() && *c != b'=')
    {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(value), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
        if bytes.len() > MAX_CODE {
            return None;
        }
    }
    Some(bytes)
}

/// Instructions with their arguments.
type Instructions = Vec<(u8, u8)>;

/// The instructions and the constants of a function of one argument and no names, in Python's
/// marshal format. A constant that is not a number is `None`.
fn compiled(code: &[u8]) -> Option<(Instructions, Vec<Option<f64>>)> {
    /// Set in the type of objects that others may refer to.
    const SHARED: u8 = 0x80;
    let code = code.strip_prefix(&[b'c' | SHARED])?;
    let integer = |at: usize| Some(u32::from_le_bytes(code.get(at..at + 4)?.try_into().ok()?));
    // Five integers before the instructions in Python 3.7 and from 3.11 on, six between. The first
    // is the number of arguments.
    let at = [20, 24]
        .into_iter()
        .find(|at| code.get(*at).is_some_and(|t| t & !SHARED == b's'))?;
    if integer(0)? != 1 {
        return None;
    }
    let length = integer(at + 1)? as usize;
    let (instructions, rest) = code.get(at + 5..)?.split_at_checked(length)?;
    let pairs = instructions.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let [tuple, count, rest @ ..] = rest else {
        return None;
    };
    let mut rest = rest;
    if tuple & !SHARED != b')' {
        return None;
    }
    let mut constants = Vec::new();
    for _ in 0..*count {
        let (kind, value) = rest.split_first()?;
        let (constant, size) = match kind & !SHARED {
            b'N' => (None, 0),
            b'g' => (Some(f64::from_le_bytes(*value.first_chunk()?)), 8),
            b'i' => (
                Some(f64::from(i32::from_le_bytes(*value.first_chunk()?))),
                4,
            ),
            _ => return None,
        };
        constants.push(constant);
        rest = value.get(size..)?;
    }
    let no_names = matches!(rest, [tuple, 0, ..] if tuple & !SHARED == b')');
    no_names.then(|| (pairs.collect(), constants))
}

/// Runs the instructions of CPython 3.7 to 3.13 on the input as an unknown.
fn run(instructions: &[(u8, u8)], constants: &[Option<f64>]) -> Option<Affine> {
    let mut stack: Vec<Affine> = Vec::new();
    for (index, (instruction, argument)) in instructions.iter().enumerate() {
        // From Python 3.13 on, 83 loads a constant; before, it returns.
        let loads = *instruction == 83 && index + 1 < instructions.len();
        let operator = match (*instruction, *argument) {
            (0 | 149 | 151, _) => continue,
            (85 | 124, 0) => {
                stack.push(Affine {
                    scale: 1.0,
                    offset: 0.0,
                });
                continue;
            }
            (100, constant) | (83, constant) if *instruction == 100 || loads => {
                let offset = (*constants.get(usize::from(constant))?)?;
                stack.push(Affine { scale: 0.0, offset });
                continue;
            }
            (83 | 36, 0) => {
                let result = stack.pop().filter(|_| stack.is_empty());
                let finite = |a: &Affine| a.scale.is_finite() && a.offset.is_finite();
                return result.filter(|a| finite(a) && a.scale != 0.0);
            }
            (23, 0) | (122 | 45, 0) => '+',
            (24, 0) | (122 | 45, 10) => '-',
            (20, 0) | (122 | 45, 5) => '*',
            (27, 0) | (122 | 45, 11) => '/',
            _ => return None,
        };
        let (b, a) = (stack.pop()?, stack.pop()?);
        let times = |a: Affine, factor: f64| Affine {
            scale: a.scale * factor,
            offset: a.offset * factor,
        };
        stack.push(match operator {
            '+' => Affine {
                scale: a.scale + b.scale,
                offset: a.offset + b.offset,
            },
            '-' => Affine {
                scale: a.scale - b.scale,
                offset: a.offset - b.offset,
            },
            '*' if b.scale == 0.0 => times(a, b.offset),
            '*' if a.scale == 0.0 => times(b, a.offset),
            '/' if b.scale == 0.0 => times(a, 1.0 / b.offset),
            _ => return None,
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Python's version, the function's body, `base64(marshal.dumps(function.__code__))`, and the
    /// scale and offset.
    type Row = (&'static str, &'static str, &'static str, Option<(f64, f64)>);

    #[test]
    fn functions_that_scale_are_recognized() {
        let rows: &[Row] = &[
            (
                "3.7",
                "x / 255.0",
                "4wEAAAAAAAAAAQAAAAIAAABDAAAAcwgAAAB8AGQBGwBTACkCTmcAAAAAAOBvQKkAKQHaAXhyAQAAAHIBAAAA2gg8c3RyaW5nPtoIPGxhbWJkYT4BAAAA8wAAAAA=",
                Some((1.0 / 255.0, 0.0)),
            ),
            (
                "3.7",
                "x * (1 / 255)",
                "4wEAAAAAAAAAAQAAAAIAAABDAAAAcwgAAAB8AGQBFABTACkCTmcQEBAQEBBwP6kAKQHaAXhyAQAAAHIBAAAA2gg8c3RyaW5nPtoIPGxhbWJkYT4BAAAA8wAAAAA=",
                Some((1.0 / 255.0, 0.0)),
            ),
            (
                "3.7",
                "(x - 127.5) / 127.5",
                "4wEAAAAAAAAAAQAAAAIAAABDAAAAcwwAAAB8AGQBGABkARsAUwApAk5nAAAAAADgX0CpACkB2gF4cgEAAAByAQAAANoIPHN0cmluZz7aCDxsYW1iZGE+AQAAAPMAAAAA",
                Some((1.0 / 127.5, -1.0)),
            ),
            (
                "3.8",
                "x / 255.0",
                "4wEAAAAAAAAAAAAAAAEAAAACAAAAQwAAAHMIAAAAfABkARsAUwApAk5nAAAAAADgb0CpACkB2gF4cgEAAAByAQAAANoIPHN0cmluZz7aCDxsYW1iZGE+AQAAAPMAAAAA",
                Some((1.0 / 255.0, 0.0)),
            ),
            (
                "3.8",
                "x * (1 / 255)",
                "4wEAAAAAAAAAAAAAAAEAAAACAAAAQwAAAHMIAAAAfABkARQAUwApAk5nEBAQEBAQcD+pACkB2gF4cgEAAAByAQAAANoIPHN0cmluZz7aCDxsYW1iZGE+AQAAAPMAAAAA",
                Some((1.0 / 255.0, 0.0)),
            ),
            (
                "3.8",
                "(x - 127.5) / 127.5",
                "4wEAAAAAAAAAAAAAAAEAAAACAAAAQwAAAHMMAAAAfABkARgAZAEbAFMAKQJOZwAAAAAA4F9AqQApAdoBeHIBAAAAcgEAAADaCDxzdHJpbmc+2gg8bGFtYmRhPgEAAADzAAAAAA==",
                Some((1.0 / 127.5, -1.0)),
            ),
            (
                "3.10",
                "x / 255.0",
                "4wEAAAAAAAAAAAAAAAEAAAACAAAAQwAAAHMIAAAAfABkARsAUwApAk5nAAAAAADgb0CpACkB2gF4cgEAAAByAQAAANoIPHN0cmluZz7aCDxsYW1iZGE+AQAAAHMCAAAACAA=",
                Some((1.0 / 255.0, 0.0)),
            ),
            (
                "3.10",
                "x * (1 / 255)",
                "4wEAAAAAAAAAAAAAAAEAAAACAAAAQwAAAHMIAAAAfABkARQAUwApAk5nEBAQEBAQcD+pACkB2gF4cgEAAAByAQAAANoIPHN0cmluZz7aCDxsYW1iZGE+AQAAAHMCAAAACAA=",
                Some((1.0 / 255.0, 0.0)),
            ),
            (
                "3.10",
                "(x - 127.5) / 127.5",
                "4wEAAAAAAAAAAAAAAAEAAAACAAAAQwAAAHMMAAAAfABkARgAZAEbAFMAKQJOZwAAAAAA4F9AqQApAdoBeHIBAAAAcgEAAADaCDxzdHJpbmc+2gg8bGFtYmRhPgEAAABzAgAAAAwA",
                Some((1.0 / 127.5, -1.0)),
            ),
            (
                "3.11",
                "x / 255.0",
                "4wEAAAAAAAAAAAAAAAIAAAADAAAA8wwAAACXAHwAZAF6CwAAUwApAk5nAAAAAADgb0CpACkB2gF4cwEAAAAg+gg8c3RyaW5nPvoIPGxhbWJkYT5yBQAAAAEAAABzCgAAAIAAiCGIZYkpgADzAAAAAA==",
                Some((1.0 / 255.0, 0.0)),
            ),
            (
                "3.11",
                "x * (1 / 255)",
                "4wEAAAAAAAAAAAAAAAIAAAADAAAA8wwAAACXAHwAZAF6BQAAUwApAk5nEBAQEBAQcD+pACkB2gF4cwEAAAAg+gg8c3RyaW5nPvoIPGxhbWJkYT5yBQAAAAEAAABzCgAAAIAAiCGId4ktgADzAAAAAA==",
                Some((1.0 / 255.0, 0.0)),
            ),
            (
                "3.11",
                "x / 127.5 - 1",
                "4wEAAAAAAAAAAAAAAAIAAAADAAAA8xIAAACXAHwAZAF6CwAAZAJ6CgAAUwApA05nAAAAAADgX0DpAQAAAKkAKQHaAXhzAQAAACD6CDxzdHJpbmc++gg8bGFtYmRhPnIGAAAAAQAAAHMOAAAAgACIIYhliSmQYYktgADzAAAAAA==",
                Some((1.0 / 127.5, -1.0)),
            ),
            (
                "3.11",
                "(x - 127.5) / 127.5",
                "4wEAAAAAAAAAAAAAAAIAAAADAAAA8xIAAACXAHwAZAF6CgAAZAF6CwAAUwApAk5nAAAAAADgX0CpACkB2gF4cwEAAAAg+gg8c3RyaW5nPvoIPGxhbWJkYT5yBQAAAAEAAABzDwAAAIAAiDGIdYk5mAXRCh2AAPMAAAAA",
                Some((1.0 / 127.5, -1.0)),
            ),
            (
                "3.11",
                "255 - x",
                "4wEAAAAAAAAAAAAAAAIAAAADAAAA8wwAAACXAGQBfAB6CgAAUwApAk7p/wAAAKkAKQHaAXhzAQAAACD6CDxzdHJpbmc++gg8bGFtYmRhPnIGAAAAAQAAAHMKAAAAgACII5ABiSeAAPMAAAAA",
                Some((-1.0, 255.0)),
            ),
            (
                "3.11",
                "x * x",
                "4wEAAAAAAAAAAAAAAAIAAAADAAAA8wwAAACXAHwAfAB6BQAAUwApAU6pACkB2gF4cwEAAAAg+gg8c3RyaW5nPvoIPGxhbWJkYT5yBQAAAAEAAABzCgAAAIAAiCGIYYklgADzAAAAAA==",
                None,
            ),
            (
                "3.11",
                "1 / x",
                "4wEAAAAAAAAAAAAAAAIAAAADAAAA8wwAAACXAGQBfAB6CwAAUwApAk7pAQAAAKkAKQHaAXhzAQAAACD6CDxzdHJpbmc++gg8bGFtYmRhPnIGAAAAAQAAAHMKAAAAgACIIYhhiSWAAPMAAAAA",
                None,
            ),
            (
                "3.11",
                "x + y",
                "4wEAAAAAAAAAAAAAAAIAAAADAAAA8xYAAACXAHwAdAAAAAAAAAAAAAAAegAAAFMAKQFOKQHaAXkpAdoBeHMBAAAAIPoIPHN0cmluZz76CDxsYW1iZGE+cgUAAAABAAAAcwoAAACAAIghjWGJJYAA8wAAAAA=",
                None,
            ),
            (
                "3.11",
                "tf.cast(x, 'float32') / 255",
                "4wEAAAAAAAAAAAAAAAQAAAADAAAA8z4AAACXAHQAAAAAAAAAAAAAAKABAAAAAAAAAAAAAAAAAAAAAAAAAAB8AGQBpgIAAKsCAAAAAAAAAABkAnoLAABTACkDTtoHZmxvYXQzMun/AAAAKQLaAnRm2gRjYXN0KQHaAXhzAQAAACD6CDxzdHJpbmc++gg8bGFtYmRhPnIIAAAAAQAAAHMZAAAAgACNIo8niieQIZBZ0Qof1AofoCPRCiWAAPMAAAAA",
                None,
            ),
            (
                "3.11",
                "5",
                "4wEAAAAAAAAAAAAAAAEAAAADAAAA8wYAAACXAGQBUwApAk7pBQAAAKkAKQHaAXhzAQAAACD6CDxzdHJpbmc++gg8bGFtYmRhPnIGAAAAAQAAAHMGAAAAgACIIYAA8wAAAAA=",
                None,
            ),
            (
                "3.12",
                "x / 255.0",
                "4wEAAAAAAAAAAAAAAAIAAAADAAAA8wwAAACXAHwAZAF6CwAAUwApAk5nAAAAAADgb0CpACkB2gF4cwEAAAAg+gg8c3RyaW5nPvoIPGxhbWJkYT5yBQAAAAEAAABzCgAAAIAAiCGIZYkpgADzAAAAAA==",
                Some((1.0 / 255.0, 0.0)),
            ),
            (
                "3.13",
                "x / 255.0",
                "4wEAAAAAAAAAAAAAAAIAAAADAAAA8wwAAACVAFUAUwEtCwAAJAApAk5nAAAAAADgb0CpACkB2gF4cwEAAAAg2gg8c3RyaW5nPtoIPGxhbWJkYT5yBQAAAAEAAABzCAAAAIAAiCGIZYop8wAAAAA=",
                Some((1.0 / 255.0, 0.0)),
            ),
            (
                "3.13",
                "x * (1 / 255)",
                "4wEAAAAAAAAAAAAAAAIAAAADAAAA8wwAAACVAFUAUwEtBQAAJAApAk5nEBAQEBAQcD+pACkB2gF4cwEAAAAg2gg8c3RyaW5nPtoIPGxhbWJkYT5yBQAAAAEAAABzCAAAAIAAiCGId4ot8wAAAAA=",
                Some((1.0 / 255.0, 0.0)),
            ),
            (
                "3.13",
                "(x - 127.5) / 127.5",
                "4wEAAAAAAAAAAAAAAAIAAAADAAAA8xIAAACVAFUAUwEtCgAAUwEtCwAAJAApAk5nAAAAAADgX0CpACkB2gF4cwEAAAAg2gg8c3RyaW5nPtoIPGxhbWJkYT5yBQAAAAEAAABzDQAAAIAAiDGIdYk5mAXSCh3zAAAAAA==",
                Some((1.0 / 127.5, -1.0)),
            ),
        ];
        let mut wrong = Vec::new();
        for (python, function, code, expected) in rows {
            for layer in [
                json!({"function": [code, null, null]}),
                json!({"function": {"class_name": "__lambda__", "config": {"code": code}}}),
            ] {
                let found = layer
                    .as_object()
                    .and_then(|map| affine(&Fields::new(map, 3)));
                let found = found.map(|a| (a.scale, a.offset));
                if found != *expected {
                    wrong.push(format!("{function} of Python {python}: {found:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
