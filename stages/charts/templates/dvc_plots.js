// DVC's page calls vegaEmbed("#ID", specification) for each plot; an ID may be no valid selector.
{
  const embed = window.vegaEmbed;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  window.vegaEmbed = (selector, { $schema = "", ...specification }, options) => {
    const many = (specification.data?.values?.length ?? 0) > 20_000; // elements of SVG would be slow
    const plot = document.getElementById(selector.slice(1));
    plot.tabIndex = 0; // a wide plot scrolls
    return embed(plot, specification, {
      mode: $schema.includes("/vega/") ? "vega" : "vega-lite", // DVC's templates name Vega-Lite 5, which 6 can draw
      renderer: many ? "canvas" : "svg",
      theme: dark ? "dark" : undefined,
      config: { background: "transparent", axis: dark ? { gridColor: "#444" } : {} },
      logLevel: 1, // errors
      ...options,
    });
  };
}
