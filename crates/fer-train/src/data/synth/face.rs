//! One drawn face: who it is, how it is seen, and what is painted in which order.

use super::canvas::{Canvas, Lens, Pose, blob, edge, ellipse, length, stroke};
use super::expression::Expression;
use fer_core::random::{Purpose, Random};

/// Width and height of a face's picture, in pixels.
pub const SIDE: usize = 48;

/// Draws a face with the expression of a class of [`EMOTIONS`](fer_core::spec::EMOTIONS):
/// `SIDE × SIDE` pixel levels, row by row. The same face for the same `class`, `seed` and `index`;
/// in everything else, no two have anything in common.
///
/// # Panics
/// If `class` is not below 7.
pub fn face(class: usize, seed: u64, index: u64) -> Vec<u8> {
    let random = &mut Random::new(seed, Purpose::Synth, class as u64, index);
    let expression = Expression::of(class, random);
    let person = Person::draw(random);
    let pose = Pose {
        x: random.around(0.10),
        y: random.around(0.08) + 0.03,
        scale: random.between(0.98, 1.14),
        tilt: random.around(10.0).to_radians(),
        yaw: random.around(0.14),
        pitch: random.around(0.06),
    };
    let mut canvas = Canvas::new(SIDE, pose);
    let light = Light {
        x: random.around(0.6),
        y: random.around(0.3) - 0.25,
    };
    background(&mut canvas, random);
    head(&mut canvas, &person, &expression, light);
    for side in [-1.0, 1.0] {
        eye(&mut canvas, &person, &expression, side);
        brow(&mut canvas, &person, &expression, side);
    }
    nose(&mut canvas, &person, &expression, light);
    mouth(&mut canvas, &person, &expression);
    hair(&mut canvas, &person, light);
    if person.glasses {
        glasses(&mut canvas, &person);
    }
    if random.chance(0.1) {
        occlude(&mut canvas, random);
    }
    // The camera: focus, exposure and noise.
    canvas.blur(random.between(0.0, 0.15));
    let (gain, gamma) = (random.between(0.8, 1.1), random.between(0.75, 1.25));
    let noise = random.between(0.0, 0.03);
    canvas.into_bytes(|level| gain * level.max(0.0).powf(gamma) + noise * random.bell())
}

/// Where the light comes from; x from the left (−1) to the right (1), y from above to below.
#[derive(Debug, Clone, Copy)]
struct Light {
    x: f64,
    y: f64,
}

/// What does not change with an expression. Tones are 0 (black) to 1.
#[derive(Debug)]
struct Person {
    skin: f64,
    hair: f64,
    iris: f64,
    /// Half the head's width.
    width: f64,
    /// The eyes' distance from the middle, and height.
    eyes: (f64, f64),
    eye_width: f64,
    /// Moves the brows.
    brow: f64,
    /// Factor of the brows' thickness.
    brow_width: f64,
    /// Height of the nose's tip.
    nose: f64,
    nose_width: f64,
    /// Moves the mouth.
    mouth: f64,
    /// Factors of the mouth's width and of the lips' thickness.
    mouth_width: f64,
    lip: f64,
    /// Height of the hairline; above the head for none.
    hairline: f64,
    /// How low the hair hangs at the sides.
    sides: f64,
    beard: f64,
    glasses: bool,
}

impl Person {
    fn draw(random: &mut Random) -> Self {
        Self {
            skin: random.between(0.45, 0.92),
            hair: random.between(0.03, 0.55).powf(1.3),
            iris: random.between(0.05, 0.35),
            width: random.between(0.70, 0.82),
            eyes: (random.between(0.33, 0.39), -0.10 + random.around(0.03)),
            eye_width: random.between(0.14, 0.17),
            brow: random.around(0.025),
            brow_width: random.between(0.75, 1.3),
            nose: random.between(0.24, 0.33),
            nose_width: random.between(0.85, 1.25),
            mouth: random.around(0.03),
            mouth_width: random.between(0.88, 1.12),
            lip: random.between(0.75, 1.35),
            hairline: if random.chance(0.12) {
                -1.5
            } else {
                random.between(-0.82, -0.60)
            },
            sides: if random.chance(0.3) {
                random.between(0.2, 1.2)
            } else {
                random.between(-0.2, 0.1)
            },
            beard: if random.chance(0.15) {
                random.between(0.15, 0.5)
            } else {
                0.0
            },
            glasses: random.chance(0.12),
        }
    }
}

fn background(canvas: &mut Canvas, random: &mut Random) {
    let (tone, slope_x, slope_y) = (
        random.between(0.08, 0.92),
        random.around(0.25),
        random.around(0.25),
    );
    canvas.paint(tone, |_, _| 1.0);
    canvas.shade(|x, y| slope_x * x + slope_y * y);
    for _ in 0..random.below(4) {
        let at = (random.around(1.2), random.around(1.2));
        let spot = blob(at, random.between(0.1, 0.5), random.between(0.1, 0.8));
        let amount = random.around(0.6);
        canvas.shade(|x, y| amount * spot(x, y));
    }
    canvas.paint(random.between(0.05, 0.9), ellipse((0.0, 1.5), 1.0, 0.6));
}

fn head(canvas: &mut Canvas, person: &Person, expression: &Expression, light: Light) {
    let (skin, width) = (person.skin, person.width);
    canvas.paint(skin * 0.62, ellipse((0.0, 0.95), 0.36, 0.5));
    for side in [-1.0, 1.0] {
        canvas.paint(skin * 0.72, ellipse((side * width, 0.02), 0.10, 0.19));
    }
    let inside = |x: f64, y: f64| {
        let width = width - 0.16 * y.clamp(0.0, 1.0).powf(1.5);
        edge((length(x / width, (y + 0.02) / 0.97) - 1.0) * 0.8, 0.03)
    };
    canvas.paint(skin, inside);
    // Light on a ball.
    canvas.shade(|x, y| {
        let (nx, ny) = (x / 0.95, y / 1.25);
        let nz = (1.0 - nx * nx - ny * ny).max(0.05).sqrt();
        let lit = (light.x * nx + light.y * ny + 0.85 * nz).max(0.0);
        inside(x, y) * (0.50 - 0.55 * lit)
    });
    // Sockets, cheeks, folds and bags under the eyes, chin.
    for side in [-1.0, 1.0] {
        let (socket, cheek) = (
            blob((side * 0.36, -0.18), 0.20, 0.13),
            blob((side * 0.42, 0.18), 0.20, 0.14),
        );
        canvas.shade(|x, y| 0.25 * socket(x, y) - 0.10 * cheek(x, y));
        let fold_end = expression.mouth_width + 0.08;
        let fold = stroke(
            [
                (side * 0.17, 0.24),
                (side * 0.29, 0.36),
                (side * fold_end, 0.52),
            ],
            0.018,
            0.04,
        );
        let bag = stroke(
            [
                (side * 0.24, 0.03),
                (side * 0.38, 0.08),
                (side * 0.52, 0.02),
            ],
            0.010,
            0.035,
        );
        canvas.shade(|x, y| (0.06 + 0.30 * expression.cheek) * fold(x, y));
        canvas.shade(|x, y| (0.08 + 0.20 * expression.cheek) * bag(x, y));
        let furrow = stroke(
            [
                (side * 0.045, -0.35),
                (side * 0.055, -0.28),
                (side * 0.04, -0.20),
            ],
            0.012,
            0.035,
        );
        canvas.shade(|x, y| 0.35 * expression.furrow * furrow(x, y));
    }
    for height in [-0.60, -0.72] {
        let line = stroke(
            [(-0.36, height + 0.03), (0.0, height), (0.36, height + 0.03)],
            0.012,
            0.025,
        );
        canvas.shade(|x, y| 0.28 * expression.forehead * line(x, y));
    }
    let jaw = blob((0.0, 0.72), 0.50, 0.30);
    canvas.shade(|x, y| person.beard * inside(x, y) * jaw(x, y));
}

fn eye(canvas: &mut Canvas, person: &Person, expression: &Expression, side: f64) {
    let (x, y) = (side * person.eyes.0, person.eyes.1);
    let (width, slant) = (person.eye_width, -side * expression.eye_slant);
    let (top, bottom) = (y - expression.lid_upper, y + expression.lid_lower);
    let white = Lens {
        at: (x, y),
        width,
        slant,
        top,
        bottom,
        power: 1.0,
    }
    .mask();
    canvas.paint(0.35 + 0.6 * person.skin, &white);
    for (tone, radius) in [
        (person.iris, expression.iris),
        (0.03, expression.iris * 0.5),
    ] {
        let disc = ellipse((x, y - 0.012), radius, radius);
        canvas.paint(tone, |x, y| white(x, y) * disc(x, y));
    }
    let ends = [(x - width, y - slant), (x + width, y + slant)];
    canvas.paint(0.08, stroke([ends[0], (x, top), ends[1]], 0.018, 0.03));
    let lower = stroke([ends[0], (x, bottom), ends[1]], 0.010, 0.025);
    let crease = stroke(
        [
            (x - width, y - 0.05 - slant),
            (x, top - 0.05),
            (x + width, y - 0.05 + slant),
        ],
        0.008,
        0.025,
    );
    canvas.shade(|x, y| 0.35 * lower(x, y));
    canvas.shade(|x, y| 0.25 * crease(x, y));
}

fn brow(canvas: &mut Canvas, person: &Person, expression: &Expression, side: f64) {
    let shape = [
        (
            side * expression.brow_gap,
            expression.brow_inner + person.brow,
        ),
        (side * 0.37, expression.brow_middle + person.brow),
        (side * 0.60, expression.brow_outer + person.brow),
    ];
    let line = stroke(shape, expression.brow_width * person.brow_width, 0.03);
    canvas.paint((person.hair * 0.75).min(person.skin * 0.6), |x, y| {
        0.9 * line(x, y)
    });
}

fn nose(canvas: &mut Canvas, person: &Person, expression: &Expression, light: Light) {
    let (tip, width) = (person.nose, person.nose_width);
    let shaded = if light.x < 0.0 { 1.0 } else { -1.0 };
    let (ridge, flank) = (
        blob((0.0, 0.05), 0.06, 0.22),
        blob((shaded * 0.10 * width, 0.08), 0.05, 0.20),
    );
    let below = blob((0.0, tip + 0.09), 0.14 * width, 0.04);
    canvas.shade(|x, y| 0.16 * flank(x, y) - 0.14 * ridge(x, y) + 0.22 * below(x, y));
    for side in [-1.0, 1.0] {
        let at = |x: f64, y: f64| (side * x * width, tip + y);
        let wing = stroke(
            [at(0.115, -0.06), at(0.165, 0.0), at(0.10, 0.06)],
            0.010,
            0.03,
        );
        let nostril = ellipse(at(0.065, 0.055), 0.035, 0.018);
        canvas.shade(|x, y| 0.35 * wing(x, y));
        canvas.shade(|x, y| 0.65 * nostril(x, y));
        for height in [-0.06, 0.02] {
            let wrinkle = stroke(
                [
                    (side * 0.02, height),
                    (side * 0.07, height + 0.005),
                    (side * 0.13, height + 0.05),
                ],
                0.012,
                0.025,
            );
            canvas.shade(|x, y| 0.40 * expression.nose_wrinkle * wrinkle(x, y));
        }
    }
}

fn mouth(canvas: &mut Canvas, person: &Person, expression: &Expression) {
    let (y, width) = (
        expression.mouth + person.mouth,
        expression.mouth_width * person.mouth_width,
    );
    let (lip, power) = (
        expression.lip * person.lip,
        1.0 - 0.5 * expression.round.clamp(0.0, 1.0),
    );
    let (top, bottom) = (y - expression.open_up, y + expression.open_down);
    let ends = y + expression.corner;
    let open = Lens {
        at: (0.0, ends),
        width,
        slant: expression.skew,
        top: top - 0.004,
        bottom: bottom + 0.004,
        power,
    };
    let lips = Lens {
        width: width + 0.03,
        top: top - lip,
        bottom: bottom + lip * 1.4,
        ..open
    };
    let teeth = Lens {
        width: width * 0.93,
        top,
        bottom: top + (bottom - top) * 0.75,
        ..open
    }
    .mask();
    canvas.paint(person.skin * 0.58, lips.mask());
    canvas.paint(0.08, open.mask());
    canvas.paint(0.92, |x, y| expression.teeth.clamp(0.0, 1.0) * teeth(x, y));
    let closed = 1.0 - expression.round.clamp(0.0, 1.0);
    let line = stroke(
        [
            (-width, ends - expression.skew),
            (0.0, top),
            (width, ends + expression.skew),
        ],
        0.012,
        0.025,
    );
    canvas.shade(|x, y| 0.75 * closed * line(x, y));
    let chin = blob((0.0, bottom + lip * 1.4 + 0.06), width * 0.6, 0.04);
    canvas.shade(|x, y| 0.2 * chin(x, y));
}

fn hair(canvas: &mut Canvas, person: &Person, light: Light) {
    if person.hairline < -1.0 {
        return;
    }
    let outer = ellipse((0.0, -0.12), person.width + 0.12, 1.02);
    let shine = blob((light.x * 0.8, -0.82), 0.35, 0.12);
    let mask = |x: f64, y: f64| {
        let line = person.hairline + 0.25 * x.abs().powf(2.5);
        let face = edge(line - y, 0.04) * edge(x.abs() - (person.width - 0.06 + 0.05 * y), 0.03);
        outer(x, y) * (1.0 - face) * edge(y - person.sides, 0.12)
    };
    canvas.paint(person.hair, mask);
    canvas.shade(|x, y| {
        mask(x, y) * (0.15 * (24.0 * x + 4.0 * (3.0 * y).sin()).sin() - 0.35 * shine(x, y))
    });
}

fn glasses(canvas: &mut Canvas, person: &Person) {
    let (x, y) = person.eyes;
    for side in [-1.0, 1.0] {
        let ring = move |px: f64, py: f64| {
            let distance = length((px - side * x) / 0.23, (py - y) / 0.19) - 1.0;
            edge(distance.abs() * 0.2 - 0.02, 0.025)
        };
        canvas.paint(0.1, |px, py| 0.85 * ring(px, py));
    }
    canvas.paint(
        0.1,
        stroke(
            [(-x + 0.22, y), (0.0, y - 0.04), (x - 0.22, y)],
            0.015,
            0.03,
        ),
    );
}

/// Something in front of the face: its edge, never its middle.
fn occlude(canvas: &mut Canvas, random: &mut Random) {
    let (sin, cos) = random.around(std::f64::consts::PI).sin_cos();
    let distance = random.between(0.75, 1.0);
    let at = (distance * cos, distance * sin);
    canvas.paint(
        random.uniform(),
        ellipse(at, random.between(0.15, 0.35), random.between(0.15, 0.35)),
    );
}
