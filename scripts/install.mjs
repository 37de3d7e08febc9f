console.error("placeholder while the skeleton is laid");
