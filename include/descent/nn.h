// Layers, models and their building blocks; names, defaults and semantics are PyTorch's, images are [N, H, W, C].
#pragma once

#include "descent/flat.h"
#include "descent/init.h"
#include "descent/layers.h"
#include "descent/model.h"
#include "descent/module.h"
