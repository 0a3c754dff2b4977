//! What makes an emotion: the numbers of a face that differ between them.

use fer_core::random::Random;

macro_rules! expression {
    ($($(#[$doc:meta])* $field:ident),+ $(,)?) => {
        /// An expression, in the face's coordinates: heights are y coordinates, and the rest are
        /// lengths or amounts of 0 to 1.
        #[derive(Debug, Clone, Copy)]
        pub(super) struct Expression {
            $($(#[$doc])* pub $field: f64),+
        }

        impl Expression {
            /// This expression, more or less: each number goes `strength` of the way from the
            /// neutral face's, give or take `spread`.
            fn drawn(&self, strength: f64, spread: f64, random: &mut Random) -> Self {
                Self {
                    $($field: NEUTRAL.$field
                        + (strength + random.around(spread)) * (self.$field - NEUTRAL.$field)),+
                }
            }
        }
    };
}

expression! {
    /// Height of the brows' inner ends.
    brow_inner,
    /// Height of the brows' middle.
    brow_middle,
    /// Height of the brows' outer ends.
    brow_outer,
    /// Half the gap between the brows.
    brow_gap,
    /// Half the brows' thickness.
    brow_width,
    /// How far the upper lids are above the eyes' middle.
    lid_upper,
    /// How far the lower lids are below the eyes' middle.
    lid_lower,
    /// Radius of the irises.
    iris,
    /// How much higher the eyes' outer ends are than the inner ones.
    eye_slant,
    /// Height of the mouth.
    mouth,
    /// Half the mouth's width.
    mouth_width,
    /// How far the mouth's corners are below its middle.
    corner,
    /// How much one corner is above the other.
    skew,
    /// How far the upper lip's lower edge is above the mouth's middle.
    open_up,
    /// How far the lower lip's upper edge is below the mouth's middle.
    open_down,
    /// The lips' thickness.
    lip,
    /// How much of the teeth is seen.
    teeth,
    /// How round the open mouth is.
    round,
    /// How much the cheeks are raised: folds beside nose and mouth.
    cheek,
    /// Upright lines between the brows.
    furrow,
    /// Lines across the forehead.
    forehead,
    /// Lines beside the nose's root.
    nose_wrinkle,
}

const NEUTRAL: Expression = Expression {
    brow_inner: -0.35,
    brow_middle: -0.40,
    brow_outer: -0.36,
    brow_gap: 0.155,
    brow_width: 0.045,
    lid_upper: 0.077,
    lid_lower: 0.035,
    iris: 0.083,
    eye_slant: 0.02,
    mouth: 0.56,
    mouth_width: 0.30,
    corner: 0.0,
    skew: 0.0,
    open_up: 0.006,
    open_down: 0.0,
    lip: 0.042,
    teeth: 0.0,
    round: 0.0,
    cheek: 0.0,
    furrow: 0.0,
    forehead: 0.0,
    nose_wrinkle: 0.0,
};

/// The seven expressions, in the order of [`EMOTIONS`](fer_core::spec::EMOTIONS).
const EXPRESSIONS: [Expression; 7] = [
    // angry: brows down and inwards, lips pressed, corners down
    Expression {
        brow_inner: -0.17,
        brow_middle: -0.27,
        brow_outer: -0.40,
        brow_gap: 0.08,
        brow_width: 0.06,
        lid_lower: 0.06,
        corner: 0.10,
        mouth_width: 0.25,
        lip: 0.03,
        furrow: 0.9,
        cheek: 0.2,
        ..NEUTRAL
    },
    // disgust: nose wrinkled, eyes nearly closed, upper lip raised on one side
    Expression {
        brow_inner: -0.21,
        brow_middle: -0.33,
        brow_outer: -0.32,
        brow_gap: 0.11,
        brow_width: 0.055,
        lid_upper: 0.015,
        lid_lower: 0.02,
        eye_slant: -0.01,
        mouth: 0.55,
        corner: 0.12,
        skew: 0.07,
        open_up: 0.06,
        open_down: 0.045,
        lip: 0.055,
        teeth: 0.6,
        cheek: 0.8,
        furrow: 0.45,
        nose_wrinkle: 1.0,
        ..NEUTRAL
    },
    // fear: brows up and together, eyes wide, mouth open and stretched
    Expression {
        brow_inner: -0.51,
        brow_middle: -0.41,
        brow_outer: -0.31,
        brow_gap: 0.11,
        brow_width: 0.036,
        lid_upper: 0.15,
        lid_lower: 0.075,
        mouth: 0.575,
        mouth_width: 0.34,
        corner: 0.10,
        open_up: 0.02,
        open_down: 0.14,
        teeth: 0.55,
        cheek: 0.2,
        furrow: 0.2,
        forehead: 0.9,
        ..NEUTRAL
    },
    // happy: a wide smile with teeth, cheeks up
    Expression {
        brow_inner: -0.37,
        brow_middle: -0.44,
        lid_upper: 0.06,
        lid_lower: 0.025,
        mouth_width: 0.43,
        corner: -0.14,
        open_up: 0.0,
        open_down: 0.12,
        teeth: 0.85,
        cheek: 1.0,
        ..NEUTRAL
    },
    NEUTRAL,
    // sad: inner brows up, lids heavy, corners down
    Expression {
        brow_inner: -0.50,
        brow_middle: -0.36,
        brow_outer: -0.26,
        lid_upper: 0.035,
        lid_lower: 0.05,
        eye_slant: -0.04,
        mouth: 0.54,
        corner: 0.13,
        mouth_width: 0.25,
        lip: 0.05,
        cheek: 0.6,
        forehead: 0.3,
        ..NEUTRAL
    },
    // surprise: brows high, eyes wide, mouth round and open
    Expression {
        brow_inner: -0.52,
        brow_middle: -0.61,
        brow_outer: -0.50,
        brow_width: 0.04,
        lid_upper: 0.15,
        lid_lower: 0.09,
        iris: 0.07,
        mouth: 0.60,
        mouth_width: 0.17,
        open_up: 0.13,
        open_down: 0.17,
        round: 1.0,
        forehead: 0.5,
        ..NEUTRAL
    },
];

impl Expression {
    /// An expression of a class, weak or strong, and on either side of the face.
    pub fn of(class: usize, random: &mut Random) -> Self {
        let strength = random.between(0.95, 1.2);
        let drawn = EXPRESSIONS[class].drawn(strength, 0.15, random);
        let side = if random.chance(0.5) { 1.0 } else { -1.0 };
        Self {
            skew: side * drawn.skew,
            ..drawn
        }
    }
}
