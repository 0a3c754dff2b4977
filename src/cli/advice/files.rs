//! What to do with a file that is not of the kind that a command takes.

use std::path::Path;

use fer::model_file::FileKind;

/// The next command for a file of another kind, or what else helps.
pub fn other_kind(path: &str, kind: FileKind) -> Option<String> {
    let tf2onnx = |option: &str| {
        format!("`python -m tf2onnx.convert {option} --output model.onnx` makes an ONNX file")
    };
    Some(match kind {
        FileKind::Unknown => return None,
        FileKind::Onnx => format!("run it with `fer infer --model {path}`"),
        FileKind::KerasArchive | FileKind::Hdf5 => {
            format!("`fer convert {path}` makes an ONNX file")
        }
        FileKind::KerasJson => {
            "give the file of its weights to `fer convert`, and this one with --config".into()
        }
        FileKind::CutOff { .. } | FileKind::Empty => "copy or download it again".into(),
        FileKind::GitLfsPointer { .. } => {
            format!("`git lfs pull --include {path}` in its repository fetches the file")
        }
        FileKind::Html => "download the file itself, not the page that shows it".into(),
        FileKind::SavedModel { keras } => {
            let folder = folder(path);
            if keras {
                format!(
                    "`python -c \"import tf_keras; \
                     tf_keras.models.load_model('{folder}').save('model.keras')\"` makes a Keras \
                     file for `fer convert`"
                )
            } else {
                tf2onnx(&format!("--saved-model {folder}"))
            }
        }
        FileKind::TensorFlowGraph => tf2onnx(&format!(
            "--graphdef {path} --inputs NAME:0 --outputs NAME:0"
        )),
        FileKind::TensorFlowLite => tf2onnx(&format!("--tflite {path}")),
        FileKind::TensorFlowJs { layers } => {
            let json = match Path::new(path).is_dir() {
                true => format!("{path}/model.json"),
                false => path.to_string(),
            };
            if layers {
                format!(
                    "`tensorflowjs_converter --input_format tfjs_layers_model --output_format \
                     keras {json} model.h5` makes a Keras file for `fer convert`"
                )
            } else {
                tf2onnx(&format!("--tfjs {json}"))
            }
        }
        FileKind::PyTorch => {
            "`torch.onnx.export(model, image, 'model.onnx')` in Python makes an ONNX file of the \
             model that loads it"
                .into()
        }
        FileKind::Safetensors => {
            "`optimum-cli export onnx --model FOLDER out` makes an ONNX file of a Hugging Face \
             folder; torch.onnx.export of another model in Python"
                .into()
        }
        FileKind::Pickle => "save the model in Python as a .keras or ONNX file".into(),
        FileKind::Archive => "unpack it, and name the model in it".into(),
    })
}

/// The folder of a SavedModel, which may be named by a file in it.
fn folder(path: &str) -> String {
    let path = Path::new(path);
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(path)
    };
    match folder.as_os_str().is_empty() {
        true => ".".into(),
        false => folder.display().to_string(),
    }
}
