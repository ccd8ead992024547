/* WAV files of 16-bit samples, limited to what filter.c needs. */
#ifndef WAV_H
#define WAV_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct wav {
    uint16_t channels;
    uint32_t rate;    /* frames a second */
    size_t frames;
    int16_t *samples; /* (frames, channels) */
} wav;

static void wav_fail(const char *path, const char *what) {
    fprintf(stderr, "%s: %s\n", path, what);
    exit(1);
}

static uint32_t wav_number(const unsigned char *at, int bytes) {
    uint32_t number = 0;
    for (int k = bytes; k-- > 0;) number = number << 8 | at[k];
    return number;
}

static void wav_put(FILE *file, uint32_t number, int bytes) {
    for (int k = 0; k < bytes; k++) fputc((int)(number >> (8 * k) & 255), file);
}

/* A file consists of chunks, each with a name of four letters and its size. All but "fmt " and "data" are skipped. */
static wav wav_read(const char *path) {
    wav wav = {0, 0, 0, NULL};
    unsigned char head[12], format[16];
    FILE *file = fopen(path, "rb");
    if (!file) wav_fail(path, "cannot be opened");
    if (fread(head, 1, 12, file) != 12 || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4))
        wav_fail(path, "is no WAV file");
    while (!wav.samples && fread(head, 1, 8, file) == 8) {
        const uint32_t size = wav_number(head + 4, 4);
        uint32_t left = size + size % 2;
        if (!memcmp(head, "fmt ", 4) && size >= 16) {
            if (fread(format, 1, 16, file) != 16) wav_fail(path, "is cut off");
            wav.channels = (uint16_t)wav_number(format + 2, 2);
            wav.rate = wav_number(format + 4, 4);
            if (wav_number(format, 2) != 1 || wav_number(format + 14, 2) != 16 || !wav.channels || !wav.rate)
                wav_fail(path, "must have 16-bit samples");
            left -= 16;
        } else if (!memcmp(head, "data", 4) && wav.channels) {
            wav.samples = malloc((size_t)size + 2);
            if (!wav.samples) wav_fail(path, "is too large");
            wav.frames = fread(wav.samples, 2u * wav.channels, size / (2u * wav.channels), file);
        }
        if (fseek(file, (long)left, SEEK_CUR)) break;
    }
    fclose(file);
    if (!wav.samples) wav_fail(path, "has no sound");
    for (size_t k = 0; k < wav.frames * wav.channels; k++) /* little-endian, whatever this machine is */
        wav.samples[k] = (int16_t)wav_number((unsigned char *)&wav.samples[k], 2);
    return wav;
}

static void wav_write(const char *path, const wav *wav) {
    const uint32_t frame = 2u * wav->channels, bytes = (uint32_t)wav->frames * frame;
    FILE *file = fopen(path, "wb");
    if (!file) wav_fail(path, "cannot be written");
    fputs("RIFF", file);
    wav_put(file, 36 + bytes, 4);
    fputs("WAVEfmt ", file);
    wav_put(file, 16, 4);
    wav_put(file, 1, 2);
    wav_put(file, wav->channels, 2);
    wav_put(file, wav->rate, 4);
    wav_put(file, wav->rate * frame, 4);
    wav_put(file, frame, 2);
    wav_put(file, 16, 2);
    fputs("data", file);
    wav_put(file, bytes, 4);
    for (size_t k = 0; k < wav->frames * wav->channels; k++) wav_put(file, (uint16_t)wav->samples[k], 2);
    if (ferror(file) | fclose(file)) wav_fail(path, "cannot be written");
}

#endif
