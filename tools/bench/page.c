#include "page.h"

void page_text(struct str *out, const char *s)
{
    for (; *s; s++) {
        switch (*s) {
        case '&':
            str_adds(out, "&amp;");
            break;
        case '<':
            str_adds(out, "&lt;");
            break;
        case '>':
            str_adds(out, "&gt;");
            break;
        case '"':
            str_adds(out, "&quot;");
            break;
        default:
            str_addc(out, *s);
        }
    }
}

void page_open(struct str *out, const char *title, const char *style)
{
    str_adds(out, PAGE_HEAD);
    page_text(out, title);
    str_adds(out,
             "</title>\n<style>body{font:14px/1.45 "
             "sans-serif;color:#212529;max-width:940px;margin:24px auto;padding:0 16px}"
             "h1{font-size:22px}h2{font-size:17px;margin-top:28px}svg{max-width:100%;height:auto}"
             "svg text{font:11px sans-serif;"
             "fill:#495057;paint-order:stroke;stroke:#fff;stroke-width:3px}.grid{stroke:#e9ecef}."
             "roof{stroke:#212529;stroke-width:1.5}table{border-collapse:collapse;font-size:12px;"
             "width:100%}th,td{padding:3px 6px;text-align:right;border-bottom:1px solid "
             "#e9ecef}th:nth-child(-n+3),"
             "td:nth-child(-n+3){text-align:left}tr.best td{font-weight:600}.key "
             "span{margin-right:16px;display:inline-block}.key i{display:inline-block;"
             "width:11px;height:11px;margin-right:6px}.note{background:#fff3cd;padding:8px "
             "12px}@media print{body{margin:0;"
             "max-width:none;font-size:11px}table{font-size:8.5px}th,td{white-space:nowrap;padding:"
             "2px 4px}h2,h2+p{break-after:avoid}"
             "svg,tr{break-inside:avoid}}");
    str_adds(out, style);
    str_adds(out, "</style></head><body>\n<h1>");
    page_text(out, title);
    str_adds(out, "</h1>\n");
}

void page_close(struct str *out)
{
    str_adds(out, "</body></html>\n");
}

void page_svg(struct str *out, int width, int height)
{
    str_addf(out, "<svg viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n", width,
             height, width, height);
}

void page_label(struct str *out, double x, double y, const char *anchor, const char *text)
{
    str_addf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    page_text(out, text);
    str_adds(out, "</text>\n");
}
