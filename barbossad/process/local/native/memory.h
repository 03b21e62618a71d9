/* Memory, or the end: a reaper without any dies, and the daemon ends its tasks and starts another. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdlib.h>

static inline void *grown(void *memory, size_t bytes)
{
    void *found = realloc(memory, bytes ? bytes : 1);
    if (!found)
        abort();
    return found;
}

#endif
