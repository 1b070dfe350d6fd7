// Marks what libdescent.so exports; everything else is hidden.
#pragma once

#define DESCENT_API __attribute__((visibility("default")))
