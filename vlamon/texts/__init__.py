"""Texts as data, one module a language: logic never holds a sentence of these."""
