// The version of descent, written once: CMake reads it from here.
#pragma once

#define DESCENT_VERSION_MAJOR 0
#define DESCENT_VERSION_MINOR 1
#define DESCENT_VERSION_PATCH 0
