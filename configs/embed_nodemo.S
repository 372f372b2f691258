/* Stands in for the demo model in mas-bootstrap, the program that makes it. */
    .section .rodata
    .balign 8
    .globl embed_demo, embed_demo_size
embed_demo:
embed_demo_size: .quad 0
    .section .note.GNU-stack, "", %progbits
