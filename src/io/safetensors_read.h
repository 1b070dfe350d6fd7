// Reads checkpoints like load_tensors, except that checksums are always verified. Only this library writes checkpoints,
// so those of earlier versions, whose headers have no marks yet (safetensors_checksum.h), are verified too.
#pragma once

#include <string>

#include "descent/io.h"

namespace descent::io {

TensorFile load_checkpoint(const std::string& path);

}  // namespace descent::io
