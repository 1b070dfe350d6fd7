// Marks what libdescent.so exports; everything else is hidden.
#pragma once

#include "descent/requirements.h"

#define DESCENT_API __attribute__((visibility("default")))
